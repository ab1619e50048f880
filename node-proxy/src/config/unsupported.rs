//! Variables that Istio's node proxy knows and we do not support yet: refused, or named in a warning, never ignored.
use super::proxy_config::ProxyConfig;
use super::read::Reader;

/// What setting an unsupported variable does.
enum Rule {
    /// Refused whenever it is set to something; the text completes "expected …".
    Unset(&'static str),
    /// Only this value is accepted: the one that changes nothing.
    Only(&'static str, &'static str),
    /// It has no effect in local dedicated mode; that is said once at startup.
    NoEffect,
}

const RULES: &[(&str, Rule)] = &[
    ("XDS_ADDRESS", Rule::Unset("nothing: control planes are not supported yet, use LOCAL_XDS_PATH")),
    ("CA_ADDRESS", Rule::Unset("nothing: certificate authorities are not supported yet, use FAKE_CA=true")),
    (
        "CRL_PATH",
        Rule::Unset("nothing: revocation lists are not supported yet, and ignoring one would be unsafe"),
    ),
    ("COMPLIANCE_POLICY", Rule::Unset("nothing: compliance policies are not supported yet")),
    (
        "PREFERED_SERVICE_NAMESPACE",
        Rule::Unset("nothing: a preferred service namespace is not supported yet"),
    ),
    ("TLS12_ENABLED", Rule::Only("false", "`false`: TLS 1.2 is not supported yet")),
    ("XDS_ON_DEMAND", Rule::Only("false", "`false`: on-demand discovery is not supported yet")),
    ("ENABLE_PROXY", Rule::Only("true", "`true`: without the proxy nothing would be left to run")),
    (
        "AUTHZ_POLICY_INFO_LOGGING",
        Rule::Only("false", "`false`: logging of policy reasons is not supported yet"),
    ),
    ("XDS_ROOT_CA", Rule::NoEffect),
    ("CA_ROOT_CA", Rule::NoEffect),
    ("ALT_XDS_HOSTNAME", Rule::NoEffect),
    ("ALT_CA_HOSTNAME", Rule::NoEffect),
    ("AUTH_TOKEN", Rule::NoEffect),
    ("SECRET_TTL", Rule::NoEffect),
    ("CLUSTER_ID", Rule::NoEffect),
    ("CLUSTER_DOMAIN", Rule::NoEffect),
    ("NODE_NAME", Rule::NoEffect),
    ("POD_NAME", Rule::NoEffect),
    ("POD_NAMESPACE", Rule::NoEffect),
    ("INSTANCE_IP", Rule::NoEffect),
    ("SERVICE_ACCOUNT", Rule::NoEffect),
    ("INPOD_UDS", Rule::NoEffect),
    ("INPOD_PORT_REUSE", Rule::NoEffect),
    ("INPOD_ENABLED", Rule::NoEffect),
];

/// Names beginning so have no effect either: metadata for a control plane.
const PREFIXES: [&str; 4] = ["XDS_HEADER_", "CA_HEADER_", "ISTIO_META_", "ISTIO_METAJSON_"];

/// Applies the rules; returns the warnings.
///
/// `KUBERNETES_SERVICE_HOST` is left alone: Kubernetes sets it in every pod, and it only picks a default for
/// `XDS_ADDRESS`. `RUST_BACKTRACE` is honoured by Rust itself.
pub(super) fn check(reader: &mut Reader<'_>) -> Vec<String> {
    let mut idle = Vec::new();
    for (name, rule) in RULES {
        let Some(value) = reader.text(name) else { continue };
        match rule {
            Rule::Unset(expected) => reader.refuse(name, Some(value), expected),
            Rule::Only(only, expected) if value != *only => reader.refuse(name, Some(value), expected),
            Rule::Only(..) => {}
            Rule::NoEffect => idle.push(*name),
        }
    }
    if let Some(capture) = reader.text("ISTIO_META_DNS_CAPTURE")
        && capture.eq_ignore_ascii_case("true")
    {
        let expected = "any other value, or nothing: the DNS proxy is not supported yet";
        reader.refuse("ISTIO_META_DNS_CAPTURE", Some(capture), expected);
    }
    let judged = ["ISTIO_META_DNS_CAPTURE", "ISTIO_META_ISTIO_VERSION"];
    idle.extend(
        reader.names().filter(|name| PREFIXES.iter().any(|p| name.starts_with(p)) && !judged.contains(name)),
    );
    if idle.is_empty() {
        return Vec::new();
    }
    vec![format!("these variables are set and have no effect in local dedicated mode: {}", idle.join(", "))]
}

/// Applies the same to what `PROXY_CONFIG` asks for.
pub(super) fn check_proxy_config(reader: &mut Reader<'_>, proxy: &ProxyConfig, warnings: &mut Vec<String>) {
    const NAME: &str = "PROXY_CONFIG";
    if proxy.discovery_address.is_some() {
        let expected = "no discoveryAddress: control planes are not supported yet, use LOCAL_XDS_PATH";
        reader.refuse(NAME, reader.text(NAME), expected);
    }
    let capture = proxy.proxy_metadata.get("DNS_CAPTURE");
    if capture.is_some_and(|capture| capture.eq_ignore_ascii_case("true")) {
        let expected = "no DNS_CAPTURE in proxyMetadata: the DNS proxy is not supported yet";
        reader.refuse(NAME, reader.text(NAME), expected);
    }
    let idle: Vec<&str> = proxy.proxy_metadata.keys().map(String::as_str).collect();
    let idle = [proxy.ignored(), idle].concat();
    if !idle.is_empty() {
        warnings
            .push(format!("{NAME}: these keys have no effect in local dedicated mode: {}", idle.join(", ")));
    }
}

/// Every name there is a rule for.
#[cfg(test)]
pub(super) fn names() -> Vec<&'static str> {
    RULES.iter().map(|(name, _)| *name).collect()
}
