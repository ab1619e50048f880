//! How the control plane is reached, and who we tell it we are (interfaces §1, §7.1).
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use adit_control::dns;
use adit_control::grpc::{Auth, AuthError, Connector, Roots, Server, ServerName, Token};
use adit_control::xds::NodeInfo;

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

/// What clients of the control plane need, whichever of its servers they speak to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlPlane {
    /// Discovery (`XDS_ADDRESS`, `XDS_ROOT_CA`, `ALT_XDS_HOSTNAME`, `XDS_HEADER_*`); `None` when it is switched off.
    pub xds: Option<Upstream>,
    /// `XDS_ON_DEMAND`: workloads and services are asked for when a connection needs them.
    pub on_demand: bool,
    /// `AUTH_TOKEN`.
    pub token: TokenSource,
    /// `ISTIO_META_CLUSTER_ID`, else `CLUSTER_ID`.
    pub cluster_id: String,
    /// Who we are.
    pub node: NodeInfo,
    /// `COMPLIANCE_POLICY=pqc`: only key exchange that withstands quantum computers.
    pub post_quantum_only: bool,
}

/// One server of the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Where it is.
    pub server: Server,
    /// What its certificate is judged by.
    pub roots: Roots,
    /// Another name that its certificate may have.
    pub alternative_name: Option<ServerName<'static>>,
    /// Metadata sent with each request.
    pub headers: BTreeMap<String, String>,
}

/// Where what authenticates us is looked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TokenSource {
    /// The token's usual file, if it exists; otherwise requests go without.
    Usual(PathBuf),
    /// The name of a file or, if there is none, the token itself.
    Given(String),
}

impl TokenSource {
    fn token(&self) -> Option<Token> {
        match self {
            Self::Usual(path) => path.exists().then(|| Token::File(path.clone())),
            Self::Given(setting) => Some(Token::from_setting(setting)),
        }
    }
}

/// The variables that describe one [`Upstream`].
pub(super) struct Names {
    pub(super) address: &'static str,
    pub(super) roots: &'static str,
    pub(super) alternative: &'static str,
    pub(super) header: &'static str,
}

const XDS: Names = Names {
    address: "XDS_ADDRESS",
    roots: "XDS_ROOT_CA",
    alternative: "ALT_XDS_HOSTNAME",
    header: "XDS_HEADER_",
};

impl ControlPlane {
    /// With a `local` file the control plane is asked only where an address says so.
    pub(super) fn read(reader: &mut Reader<'_>, proxy: &ProxyConfig, local: bool) -> Self {
        let node = node(reader, proxy);
        let cluster_id = node.metadata.get("CLUSTER_ID").filter(|id| !id.is_empty()).cloned();
        let given = reader.given(XDS.address).or(proxy.discovery_address.as_deref());
        let address = match given {
            Some(address) => Some(address).filter(|address| !address.is_empty()),
            None if local => None,
            None => Some(default_address(reader)),
        };
        Self {
            xds: address.and_then(|address| Upstream::read(reader, &XDS, address)),
            on_demand: reader.boolean("XDS_ON_DEMAND", false),
            token: owned(reader, "AUTH_TOKEN")
                .map_or_else(|| TokenSource::Usual(TOKEN.into()), TokenSource::Given),
            cluster_id: cluster_id
                .or_else(|| owned(reader, "CLUSTER_ID"))
                .unwrap_or_else(|| "Kubernetes".to_owned()),
            node,
            post_quantum_only: reader.text("COMPLIANCE_POLICY").is_some()
                && reader.word("COMPLIANCE_POLICY", &[("pqc", true)]).unwrap_or(false),
        }
    }

    /// What opens connections to `upstream`, with the `mark` that redirection leaves alone, after `names` has been asked for its
    /// address.
    ///
    /// # Errors
    /// A header that cannot be sent.
    pub fn connector(
        &self,
        upstream: &Upstream,
        mark: Option<u32>,
        names: Option<dns::Names>,
    ) -> Result<Connector, AuthError> {
        let Upstream { server, roots, alternative_name, headers } = upstream.clone();
        let auth = Auth::new(self.token.token(), &self.cluster_id, headers)?;
        let post_quantum_only = self.post_quantum_only;
        Ok(Connector { server, roots, alternative_name, auth: auth.into(), post_quantum_only, mark, names })
    }
}

/// Where istiod is, unless told otherwise.
pub(super) fn default_address(reader: &Reader<'_>) -> &'static str {
    if reader.text("KUBERNETES_SERVICE_HOST").is_some() { IN_CLUSTER } else { ELSEWHERE }
}

impl Upstream {
    /// The server at `address`; `None` when something about it is refused.
    pub(super) fn read(reader: &mut Reader<'_>, names: &Names, address: &str) -> Option<Self> {
        let server = address.parse().map_err(|_| {
            reader.refuse(
                names.address,
                Some(address),
                "an address such as https://istiod.istio-system.svc:15012",
            );
        });
        let alternative = reader.text(names.alternative).map(|name| {
            ServerName::try_from(name.to_owned()).map_err(|_| {
                reader.refuse(names.alternative, Some(name), "a name or an address");
            })
        });
        let headers: BTreeMap<_, _> = reader
            .prefixed(names.header)
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        for (name, value) in &headers {
            if Auth::new(None, "", [(name.clone(), value.clone())]).is_err() {
                let variable = format!("{}{}", names.header, name.to_ascii_uppercase());
                reader.refuse(&variable, Some(value), "what can be sent as a header");
            }
        }
        Some(Self {
            server: server.ok()?,
            roots: reader.text(names.roots).map_or_else(|| Roots::File(ROOT.into()), Roots::from_setting),
            alternative_name: alternative.transpose().ok()?,
            headers,
        })
    }
}

fn owned(reader: &Reader<'_>, name: &'static str) -> Option<String> {
    reader.text(name).map(str::to_owned)
}

fn node(reader: &mut Reader<'_>, proxy: &ProxyConfig) -> NodeInfo {
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
    NodeInfo {
        node_name: owned(reader, "NODE_NAME").unwrap_or_default(),
        pod_name: owned(reader, "POD_NAME").unwrap_or_default(),
        pod_namespace: owned(reader, "POD_NAMESPACE").unwrap_or_default(),
        instance_ip: reader.text("INSTANCE_IP").and_then(|_| reader.parsed::<IpAddr>("INSTANCE_IP")),
        metadata,
        json_metadata,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_with(pairs: &[(&str, &str)], local: bool) -> Result<ControlPlane, String> {
        let vars = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut reader = Reader::new(&vars);
        let proxy = ProxyConfig::read(&mut reader);
        let control = ControlPlane::read(&mut reader, &proxy, local);
        reader.finish(control).map_err(|errors| errors.to_string())
    }

    fn read(pairs: &[(&str, &str)]) -> Result<ControlPlane, String> {
        read_with(pairs, false)
    }

    fn address(control: &ControlPlane) -> Option<String> {
        control.xds.as_ref().map(|xds| xds.server.to_string())
    }

    #[test]
    fn defaults_are_upstreams() {
        let control = read(&[]).unwrap();
        let expected = Upstream {
            server: ELSEWHERE.parse().unwrap(),
            roots: Roots::File(ROOT.into()),
            alternative_name: None,
            headers: BTreeMap::new(),
        };
        assert_eq!(control.xds.as_ref(), Some(&expected));
        assert_eq!(control.token, TokenSource::Usual(TOKEN.into()));
        assert_eq!(control.cluster_id, "Kubernetes");
        let cluster = read(&[("KUBERNETES_SERVICE_HOST", "10.0.0.1")]).unwrap();
        assert_eq!(address(&cluster).as_deref(), Some(IN_CLUSTER));
    }

    #[test]
    fn addresses_have_an_order_and_a_scheme() {
        const PROXY: (&str, &str) = ("PROXY_CONFIG", "discoveryAddress: a:1");
        let xds = |pairs: &[(&str, &str)]| address(&read(pairs).unwrap());
        assert_eq!(xds(&[PROXY]).as_deref(), Some("https://a:1"));
        assert_eq!(xds(&[PROXY, ("XDS_ADDRESS", "https://b:2")]).as_deref(), Some("https://b:2"));
        assert_eq!(xds(&[PROXY, ("XDS_ADDRESS", "")]), None);
        // Beside a local file nobody is asked unasked.
        let local = |pairs: &[(&str, &str)]| address(&read_with(pairs, true).unwrap());
        assert_eq!(local(&[]), None);
        assert_eq!(local(&[("XDS_ADDRESS", "c:3")]).as_deref(), Some("https://c:3"));
        let error = read(&[("XDS_ADDRESS", "http://istiod:15010")]).unwrap_err();
        assert!(error.contains("XDS_ADDRESS: read \"http://istiod:15010\""), "{error}");
    }

    #[test]
    fn every_variable_is_heard() {
        type Check = fn(&ControlPlane, &Upstream) -> bool;
        let cases: &[(&[(&str, &str)], Check)] = &[
            (&[("XDS_ROOT_CA", "SYSTEM")], |_, x| x.roots == Roots::System),
            (&[("XDS_ROOT_CA", "/root.pem")], |_, x| x.roots == Roots::File("/root.pem".into())),
            (&[("XDS_ROOT_CA", "-----BEGIN CERTIFICATE-----")], |_, x| matches!(x.roots, Roots::Pem(_))),
            (&[("ALT_XDS_HOSTNAME", "x")], |_, x| x.alternative_name == ServerName::try_from("x").ok()),
            (&[("XDS_HEADER_Tenant", "t")], |_, x| x.headers.get("tenant").is_some_and(|v| v == "t")),
            (&[("CA_HEADER_k", "v")], |_, x| x.headers.is_empty()),
            (&[("AUTH_TOKEN", "/token")], |c, _| c.token == TokenSource::Given("/token".to_owned())),
            (&[("XDS_ON_DEMAND", "true")], |c, _| c.on_demand),
            (&[("COMPLIANCE_POLICY", "pqc")], |c, _| c.post_quantum_only),
            (&[("COMPLIANCE_POLICY", "")], |c, _| !c.post_quantum_only),
            (&[("CLUSTER_ID", "a")], |c, _| c.cluster_id == "a"),
            (&[("CLUSTER_ID", "a"), ("ISTIO_META_CLUSTER_ID", "b")], |c, _| c.cluster_id == "b"),
            (&[("NODE_NAME", "n")], |c, _| c.node.node_name == "n"),
            (&[("POD_NAME", "p"), ("POD_NAMESPACE", "q")], |c, _| {
                (c.node.pod_name.as_str(), c.node.pod_namespace.as_str()) == ("p", "q")
            }),
            (&[("INSTANCE_IP", "10.0.0.9")], |c, _| c.node.instance_ip == Some([10, 0, 0, 9].into())),
            (&[("ISTIO_META_X", "1")], |c, _| c.node.metadata.get("X").is_some_and(|v| v == "1")),
            (&[("ISTIO_METAJSON_X", "[1]")], |c, _| c.node.json_metadata["X"] == serde_json::json!([1])),
            (&[("PROXY_CONFIG", "proxyMetadata: {A: b}")], |c, _| c.node.metadata["A"] == "b"),
            (&[("PROXY_CONFIG", "proxyMetadata: {A: b}"), ("ISTIO_META_A", "c")], |c, _| {
                c.node.metadata["A"] == "c"
            }),
        ];
        for (pairs, check) in cases {
            let control = read(pairs).unwrap_or_else(|error| panic!("{pairs:?}: {error}"));
            let xds = control.xds.as_ref().expect("by default");
            assert!(check(&control, xds), "{pairs:?}: {control:?}");
            assert!(control.connector(xds, None, None).is_ok(), "{pairs:?}");
        }
    }

    #[test]
    fn nonsense_is_refused_by_its_name() {
        for (name, value) in [
            ("XDS_ADDRESS", "https://a b"),
            ("ALT_XDS_HOSTNAME", "a b"),
            ("XDS_HEADER_A B", "c"),
            ("INSTANCE_IP", "here"),
            ("COMPLIANCE_POLICY", "fips"),
            ("ISTIO_METAJSON_X", "{"),
        ] {
            let error = read(&[(name, value)]).expect_err(name);
            assert!(error.contains(&format!("{name}: read ")), "{name}: {error}");
        }
    }
}
