//! What names mean, and where the DNS proxy listens (interfaces §7.1, datapath §7).
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::Listen;
use super::control::ControlPlane;
use super::read::Reader;

const CAPTURE: &str = "DNS_CAPTURE";
const ADDRESS: &str = "DNS_PROXY_ADDR";

/// What names mean, to the DNS proxy and to connections that are made to names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Dns {
    /// The DNS proxy's address; `None` where it is off (`ISTIO_META_DNS_CAPTURE`, `ISTIO_META_DNS_PROXY_ADDR`).
    pub listen: Option<DnsListen>,
    /// `IPV6_ENABLED`: listen there too, and give out such addresses.
    pub ipv6: bool,
    /// `CLUSTER_DOMAIN`, in lower case.
    pub cluster_domain: Arc<str>,
    /// `PREFERED_SERVICE_NAMESPACE` (spelt so).
    pub preferred_namespace: Option<Arc<str>>,
}

/// Where it listens, by UDP and TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DnsListen {
    /// `localhost:PORT`: 127.0.0.1, and ::1 where the machine has it.
    Loopback(u16),
    /// One address.
    At(SocketAddr),
}

impl Dns {
    /// It listens where services for this machine alone do: at another address than the usual one, where several proxies
    /// share a loopback interface.
    pub(super) fn read(reader: &mut Reader<'_>, control: &ControlPlane, listen: &Listen) -> Self {
        let metadata = &control.node.metadata;
        let capture = metadata.get(CAPTURE);
        let cluster_domain = reader.text("CLUSTER_DOMAIN").unwrap_or("cluster.local").to_ascii_lowercase();
        let preferred_namespace = reader.text("PREFERED_SERVICE_NAMESPACE").map(Arc::from);
        let &Listen { loopback, ipv6, .. } = listen;
        let address = metadata.get(ADDRESS).map_or("localhost:15053", String::as_str);
        let port = |port: &str| port.parse::<u16>().ok();
        let listen = match (address.strip_prefix("localhost:").and_then(port), address.parse()) {
            (Some(port), _) if loopback == IpAddr::from([127, 0, 0, 1]) => Some(DnsListen::Loopback(port)),
            (Some(port), _) => Some(DnsListen::At(SocketAddr::new(loopback, port))),
            (None, Ok(address)) => Some(DnsListen::At(address)),
            (None, Err(_)) => {
                let variable = format!("ISTIO_META_{ADDRESS}");
                reader.refuse(&variable, Some(address), "ADDRESS:PORT or localhost:PORT");
                None
            }
        };
        let enabled = capture.is_none_or(|capture| capture.eq_ignore_ascii_case("true"));
        let listen = listen.filter(|_| enabled);
        Self { listen, ipv6, cluster_domain: cluster_domain.into(), preferred_namespace }
    }
}

#[cfg(test)]
mod tests {
    use super::super::listen;
    use super::super::proxy_config::ProxyConfig;
    use super::*;

    fn read(pairs: &[(&str, &str)], bind: [u8; 4]) -> Result<Dns, String> {
        let bind = ("ADIT_BIND_ADDRESS", std::net::Ipv4Addr::from(bind).to_string());
        let pairs = pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).chain([bind]);
        let vars = pairs.map(|(name, value)| (name.to_owned(), value)).collect();
        let mut reader = Reader::new(&vars);
        let proxy = ProxyConfig::read(&mut reader);
        let control = ControlPlane::read(&mut reader, &proxy, true);
        let listen = listen(&mut reader, false, &proxy);
        let dns = Dns::read(&mut reader, &control, &listen);
        reader.finish(dns).map_err(|errors| errors.to_string())
    }

    #[test]
    fn it_is_on_unless_told_otherwise() {
        let dns = read(&[], [127, 0, 0, 1]).unwrap();
        assert_eq!(dns.listen, Some(DnsListen::Loopback(15053)));
        assert!(dns.ipv6);
        assert_eq!((&*dns.cluster_domain, dns.preferred_namespace), ("cluster.local", None));
        for (value, on) in [("TRUE", true), ("true", true), ("false", false), ("", false), ("1", false)] {
            let dns = read(&[("ISTIO_META_DNS_CAPTURE", value)], [127, 0, 0, 1]).unwrap();
            assert_eq!(dns.listen.is_some(), on, "{value}");
        }
        let off = read(&[("PROXY_CONFIG", "proxyMetadata: {DNS_CAPTURE: 'false'}")], [127, 0, 0, 1]).unwrap();
        assert_eq!(off.listen, None);
    }

    #[test]
    fn every_variable_is_heard() {
        let pairs = [
            ("CLUSTER_DOMAIN", "Corp"),
            ("PREFERED_SERVICE_NAMESPACE", "shop"),
            ("IPV6_ENABLED", "false"),
            ("ISTIO_META_DNS_PROXY_ADDR", "localhost:53"),
        ];
        let dns = read(&pairs, [127, 0, 0, 1]).unwrap();
        assert_eq!(dns.listen, Some(DnsListen::Loopback(53)));
        assert!(!dns.ipv6);
        assert_eq!((&*dns.cluster_domain, dns.preferred_namespace.as_deref()), ("corp", Some("shop")));
        let at = |pairs: &[_], loopback| read(pairs, loopback).unwrap().listen;
        assert_eq!(at(&[], [127, 0, 0, 9]), Some(DnsListen::At("127.0.0.9:15053".parse().unwrap())));
        let address = [("ISTIO_META_DNS_PROXY_ADDR", "[::1]:53")];
        assert_eq!(at(&address, [127, 0, 0, 1]), Some(DnsListen::At("[::1]:53".parse().unwrap())));
    }

    #[test]
    fn nonsense_is_refused_by_its_name() {
        for value in ["localhost", "localhost:x", "example.com:53", "10.0.0.1"] {
            let error = read(&[("ISTIO_META_DNS_PROXY_ADDR", value)], [127, 0, 0, 1]).unwrap_err();
            assert!(error.contains(&format!("ISTIO_META_DNS_PROXY_ADDR: read {value:?}")), "{error}");
        }
    }
}
