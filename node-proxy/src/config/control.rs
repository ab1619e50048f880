//! How the control plane and the certificate authority are reached, and who we tell them we are (interfaces §1, §2, §7.1).
//!
//! [`unsupported`](super::unsupported) still refuses what nothing is wired to.
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::proxy_config::ProxyConfig;
use super::read::Reader;

/// Where istiod is in a cluster.
const IN_CLUSTER: &str = "https://istiod.istio-system.svc:15012";
/// Where it is elsewhere.
const ELSEWHERE: &str = "https://localhost:15012";
/// Where the roots that istiod's own certificate is judged by are, unless told otherwise.
const ROOT: &str = "./var/run/secrets/istio/root-cert.pem";
/// Where the token is, unless told otherwise.
const TOKEN: &str = "./var/run/secrets/tokens/istio-token";

/// Everything the clients of the control plane need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlPlane {
    /// Discovery (`XDS_ADDRESS`, `XDS_ROOT_CA`, `ALT_XDS_HOSTNAME`, `XDS_HEADER_*`).
    pub xds: Upstream,
    /// The certificate authority (`CA_ADDRESS`, `CA_ROOT_CA`, `ALT_CA_HOSTNAME`, `CA_HEADER_*`).
    pub ca: Upstream,
    /// `XDS_ON_DEMAND`: workloads are asked for one by one.
    pub on_demand: bool,
    /// `AUTH_TOKEN`.
    pub token: Token,
    /// `SECRET_TTL`: how long certificates are asked to live.
    pub secret_ttl: Duration,
    /// `CRL_PATH`.
    pub crl: Option<PathBuf>,
    /// `ISTIO_META_CLUSTER_ID`, else `CLUSTER_ID`.
    pub cluster_id: String,
    /// `CLUSTER_DOMAIN`.
    pub cluster_domain: String,
    /// `PREFERED_SERVICE_NAMESPACE` (spelt so).
    pub preferred_service_namespace: Option<String>,
    /// Who we are.
    pub node: Node,
    /// The DNS proxy.
    pub dns: Dns,
}

/// One server of the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// With its scheme; `None` when it was set to nothing, which switches the client off.
    pub address: Option<String>,
    /// What its certificate is judged by.
    pub root: Root,
    /// Another name that its certificate may have.
    pub alternative_name: Option<String>,
    /// Metadata sent with each request.
    pub headers: BTreeMap<String, String>,
}

/// Roots of trust for a server's own certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Root {
    /// A PEM file.
    File(PathBuf),
    /// Those of the system (`SYSTEM`).
    System,
    /// PEM text, given in the variable itself.
    Pem(String),
}

/// What authenticates us.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Token {
    /// The token's usual file, if it exists; otherwise requests go without.
    Usual(PathBuf),
    /// The name of a file or, if there is none, the token itself.
    Given(String),
}

/// Who we tell the control plane we are (interfaces §1.2); missing texts are empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// `NODE_NAME`.
    pub node_name: Option<String>,
    /// `POD_NAME`.
    pub pod_name: String,
    /// `POD_NAMESPACE`.
    pub pod_namespace: String,
    /// `SERVICE_ACCOUNT`.
    pub service_account: String,
    /// `INSTANCE_IP`.
    pub instance_ip: Option<IpAddr>,
    /// `ISTIO_META_*` and `proxyMetadata`, without the prefix.
    pub metadata: BTreeMap<String, String>,
    /// `ISTIO_METAJSON_*`, without the prefix.
    pub json_metadata: BTreeMap<String, serde_json::Value>,
}

/// The DNS proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// `ISTIO_META_DNS_CAPTURE`: on unless set to something other than `true`.
    pub enabled: bool,
    /// `ISTIO_META_DNS_PROXY_ADDR`: `localhost:PORT` is both families.
    pub address: String,
}

impl ControlPlane {
    pub(super) fn read(reader: &mut Reader<'_>, proxy: &ProxyConfig) -> Self {
        let node = node(reader, proxy);
        let cluster_id = node.metadata.get("CLUSTER_ID").filter(|id| !id.is_empty()).cloned();
        let cluster_domain = owned(reader, "CLUSTER_DOMAIN").unwrap_or_else(|| "cluster.local".to_owned());
        let default = if reader.text("KUBERNETES_SERVICE_HOST").is_some() { IN_CLUSTER } else { ELSEWHERE };
        let discovery = proxy.discovery_address.as_deref().unwrap_or(default);
        Self {
            xds: upstream(
                reader,
                ["XDS_ADDRESS", "XDS_ROOT_CA", "ALT_XDS_HOSTNAME"],
                "XDS_HEADER_",
                discovery,
            ),
            ca: upstream(reader, ["CA_ADDRESS", "CA_ROOT_CA", "ALT_CA_HOSTNAME"], "CA_HEADER_", default),
            on_demand: reader.boolean("XDS_ON_DEMAND", false),
            token: owned(reader, "AUTH_TOKEN").map_or_else(|| Token::Usual(TOKEN.into()), Token::Given),
            secret_ttl: reader.positive_duration("SECRET_TTL", Duration::from_secs(24 * 3600)),
            crl: reader.text("CRL_PATH").map(PathBuf::from),
            cluster_id: cluster_id
                .or_else(|| owned(reader, "CLUSTER_ID"))
                .unwrap_or_else(|| "Kubernetes".to_owned()),
            cluster_domain,
            preferred_service_namespace: owned(reader, "PREFERED_SERVICE_NAMESPACE"),
            dns: dns(reader, &node.metadata),
            node,
        }
    }
}

fn owned(reader: &Reader<'_>, name: &'static str) -> Option<String> {
    reader.text(name).map(str::to_owned)
}

fn upstream(
    reader: &mut Reader<'_>,
    [address, root, alternative]: [&'static str; 3],
    header: &str,
    default: &str,
) -> Upstream {
    let given = reader.given(address).unwrap_or(default);
    let address = match given {
        "" => None,
        given if given.contains("://") && !given.starts_with("https://") => {
            reader.refuse(address, Some(given), "an address such as https://istiod.istio-system.svc:15012");
            None
        }
        given if given.starts_with("https://") => Some(given.to_owned()),
        given => Some(format!("https://{given}")),
    };
    Upstream {
        address,
        root: match reader.text(root) {
            None => Root::File(ROOT.into()),
            Some("SYSTEM") => Root::System,
            // A path never has this; a missing file is better named than taken for a certificate.
            Some(text) if text.contains("-----BEGIN") => Root::Pem(text.to_owned()),
            Some(path) => Root::File(path.into()),
        },
        alternative_name: owned(reader, alternative),
        headers: reader
            .prefixed(header)
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect(),
    }
}

fn node(reader: &mut Reader<'_>, proxy: &ProxyConfig) -> Node {
    let mut metadata = proxy.proxy_metadata.clone();
    metadata.extend(reader.prefixed("ISTIO_META_").map(|(name, value)| (name.to_owned(), value.to_owned())));
    let mut json_metadata = BTreeMap::new();
    let given: Vec<_> = reader.prefixed("ISTIO_METAJSON_").collect();
    for (name, value) in given {
        match serde_json::from_str(value) {
            Ok(json) => {
                json_metadata.insert(name.to_owned(), json);
            }
            Err(_) => reader.refuse(&format!("ISTIO_METAJSON_{name}"), Some(value), "JSON"),
        }
    }
    Node {
        node_name: owned(reader, "NODE_NAME"),
        pod_name: owned(reader, "POD_NAME").unwrap_or_default(),
        pod_namespace: owned(reader, "POD_NAMESPACE").unwrap_or_default(),
        service_account: owned(reader, "SERVICE_ACCOUNT").unwrap_or_default(),
        instance_ip: reader.text("INSTANCE_IP").and_then(|_| reader.parsed("INSTANCE_IP")),
        metadata,
        json_metadata,
    }
}

fn dns(reader: &mut Reader<'_>, metadata: &BTreeMap<String, String>) -> Dns {
    const NAME: &str = "ISTIO_META_DNS_PROXY_ADDR";
    let capture = metadata.get("DNS_CAPTURE");
    let address = metadata.get("DNS_PROXY_ADDR").map_or("localhost:15053", String::as_str);
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    let host = address.rsplit_once(':').map_or("", |(host, _)| host);
    if port.is_none() || (host != "localhost" && address.parse::<std::net::SocketAddr>().is_err()) {
        reader.refuse(NAME, Some(address), "ADDRESS:PORT or localhost:PORT");
    }
    Dns {
        enabled: capture.is_none_or(|capture| capture.eq_ignore_ascii_case("true")),
        address: address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<ControlPlane, String> {
        let vars = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut reader = Reader::new(&vars);
        let proxy = ProxyConfig::read(&mut reader);
        let control = ControlPlane::read(&mut reader, &proxy);
        reader.finish(control).map_err(|errors| errors.to_string())
    }

    #[test]
    fn defaults_are_upstreams() {
        let control = read(&[]).unwrap();
        let expected = Upstream {
            address: Some(ELSEWHERE.to_owned()),
            root: Root::File(ROOT.into()),
            alternative_name: None,
            headers: BTreeMap::new(),
        };
        assert_eq!((&control.xds, &control.ca), (&expected, &expected));
        assert_eq!(control.token, Token::Usual(TOKEN.into()));
        assert_eq!(control.secret_ttl, Duration::from_secs(86_400));
        assert_eq!(
            (control.cluster_id.as_str(), control.cluster_domain.as_str()),
            ("Kubernetes", "cluster.local")
        );
        assert_eq!(control.dns, Dns { enabled: true, address: "localhost:15053".to_owned() });
        let cluster = read(&[("KUBERNETES_SERVICE_HOST", "10.0.0.1")]).unwrap();
        assert_eq!(cluster.ca.address.as_deref(), Some(IN_CLUSTER));
    }

    #[test]
    fn addresses_have_an_order_and_a_scheme() {
        const PROXY: (&str, &str) = ("PROXY_CONFIG", "discoveryAddress: a:1");
        let xds = |pairs: &[(&str, &str)]| read(pairs).unwrap().xds.address;
        assert_eq!(xds(&[PROXY]).as_deref(), Some("https://a:1"));
        assert_eq!(xds(&[PROXY, ("XDS_ADDRESS", "https://b:2")]).as_deref(), Some("https://b:2"));
        assert_eq!(xds(&[PROXY, ("XDS_ADDRESS", "")]), None);
        // The authority is not what is given for discovery.
        assert_eq!(read(&[PROXY]).unwrap().ca.address.as_deref(), Some(ELSEWHERE));
        let error = read(&[("CA_ADDRESS", "http://istiod:15010")]).unwrap_err();
        assert!(error.contains("CA_ADDRESS: read \"http://istiod:15010\""), "{error}");
    }

    #[test]
    fn every_variable_is_heard() {
        type Check = fn(&ControlPlane) -> bool;
        let cases: &[(&[(&str, &str)], Check)] = &[
            (&[("XDS_ROOT_CA", "SYSTEM")], |c| c.xds.root == Root::System),
            (&[("CA_ROOT_CA", "/root.pem")], |c| c.ca.root == Root::File("/root.pem".into())),
            (&[("CA_ROOT_CA", "-----BEGIN CERTIFICATE-----")], |c| matches!(c.ca.root, Root::Pem(_))),
            (&[("ALT_XDS_HOSTNAME", "x")], |c| c.xds.alternative_name.as_deref() == Some("x")),
            (&[("ALT_CA_HOSTNAME", "y")], |c| c.ca.alternative_name.as_deref() == Some("y")),
            (&[("XDS_HEADER_Tenant", "t")], |c| c.xds.headers.get("tenant").is_some_and(|v| v == "t")),
            (&[("CA_HEADER_k", "v")], |c| c.ca.headers.len() == 1 && c.xds.headers.is_empty()),
            (&[("XDS_ON_DEMAND", "true")], |c| c.on_demand),
            (&[("AUTH_TOKEN", "/token")], |c| c.token == Token::Given("/token".to_owned())),
            (&[("SECRET_TTL", "1h")], |c| c.secret_ttl == Duration::from_secs(3600)),
            (&[("CRL_PATH", "/crl")], |c| c.crl.as_deref() == Some("/crl".as_ref())),
            (&[("CLUSTER_ID", "a")], |c| c.cluster_id == "a"),
            (&[("CLUSTER_ID", "a"), ("ISTIO_META_CLUSTER_ID", "b")], |c| c.cluster_id == "b"),
            (&[("CLUSTER_DOMAIN", "corp")], |c| c.cluster_domain == "corp"),
            (&[("PREFERED_SERVICE_NAMESPACE", "n")], |c| c.preferred_service_namespace.is_some()),
            (&[("NODE_NAME", "n")], |c| c.node.node_name.as_deref() == Some("n")),
            (&[("POD_NAME", "p"), ("POD_NAMESPACE", "q"), ("SERVICE_ACCOUNT", "s")], |c| {
                let Node { pod_name, pod_namespace, service_account, .. } = &c.node;
                (pod_name.as_str(), pod_namespace.as_str(), service_account.as_str()) == ("p", "q", "s")
            }),
            (&[("INSTANCE_IP", "10.0.0.9")], |c| c.node.instance_ip == Some([10, 0, 0, 9].into())),
            (&[("ISTIO_META_X", "1")], |c| c.node.metadata.get("X").is_some_and(|v| v == "1")),
            (&[("ISTIO_METAJSON_X", "[1]")], |c| c.node.json_metadata["X"] == serde_json::json!([1])),
            (&[("PROXY_CONFIG", "proxyMetadata: {A: b}")], |c| c.node.metadata["A"] == "b"),
            (&[("PROXY_CONFIG", "proxyMetadata: {A: b}"), ("ISTIO_META_A", "c")], |c| {
                c.node.metadata["A"] == "c"
            }),
            (&[("ISTIO_META_DNS_CAPTURE", "false")], |c| !c.dns.enabled),
            (&[("ISTIO_META_DNS_CAPTURE", "TRUE")], |c| c.dns.enabled),
            (&[("ISTIO_META_DNS_PROXY_ADDR", "127.0.0.1:53")], |c| c.dns.address == "127.0.0.1:53"),
        ];
        for (pairs, check) in cases {
            let control = read(pairs).unwrap_or_else(|error| panic!("{pairs:?}: {error}"));
            assert!(check(&control), "{pairs:?}: {control:?}");
        }
    }

    #[test]
    fn nonsense_is_refused_by_its_name() {
        for (name, value) in [
            ("XDS_ON_DEMAND", "yes"),
            ("SECRET_TTL", "0s"),
            ("INSTANCE_IP", "here"),
            ("ISTIO_METAJSON_X", "{"),
            ("ISTIO_META_DNS_PROXY_ADDR", "localhost"),
            ("ISTIO_META_DNS_PROXY_ADDR", "example.com:53"),
        ] {
            let error = read(&[(name, value)]).expect_err(name);
            assert!(error.contains(&format!("{name}: read ")), "{name}: {error}");
        }
    }
}
