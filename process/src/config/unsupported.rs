//! Variables that Istio's node proxy knows and that we do not support, or that have no effect beside others: refused, or
//! named in a warning, never ignored.
use super::authority::Authority;
use super::proxy_config::ProxyConfig;
use super::read::Reader;

/// A variable, its only value that is accepted, which changes nothing, and what completes "expected …".
const RULES: &[(&str, &str, &str)] = &[
    ("TLS12_ENABLED", "false", "`false`: TLS 1.2 is not supported"),
    ("ENABLE_PROXY", "true", "`true`: without the proxy nothing would be left to run"),
];

/// What a variable takes part in. Where none of its parts is there, it has no effect.
struct Part {
    names: &'static [&'static str],
    prefixes: &'static [&'static str],
    needs: fn(&Effects) -> bool,
}

/// What the configuration has turned out to be.
pub(super) struct Effects {
    /// Pods of the node are served.
    pub(super) shared: bool,
    /// A control plane is asked for the mesh.
    pub(super) xds: bool,
    /// The mesh's authority is asked for certificates.
    pub(super) istio_ca: bool,
    /// The built-in one is.
    pub(super) built_in_ca: bool,
}

impl Effects {
    pub(super) const fn new(shared: bool, xds: bool, authority: Option<&Authority>) -> Self {
        Self {
            shared,
            xds,
            istio_ca: matches!(authority, Some(Authority::Istio { .. })),
            built_in_ca: matches!(authority, Some(Authority::BuiltIn { .. })),
        }
    }
}

const PARTS: &[Part] = &[
    // Upstream's chart sets it, and nobody reads it: that we are in pods is what it says.
    Part { names: &["INPOD_ENABLED"], prefixes: &[], needs: |effects| effects.shared },
    Part {
        names: &["SERVICE_ACCOUNT", "INPOD_UDS", "INPOD_PORT_REUSE"],
        prefixes: &[],
        needs: |effects| effects.shared,
    },
    Part { names: &["PROXY_WORKLOAD_INFO"], prefixes: &[], needs: |effects| !effects.shared },
    Part {
        names: &["POD_NAME", "POD_NAMESPACE"],
        prefixes: &[],
        needs: |effects| effects.xds || effects.shared,
    },
    Part {
        names: &["XDS_ON_DEMAND", "XDS_ROOT_CA", "ALT_XDS_HOSTNAME", "NODE_NAME", "INSTANCE_IP"],
        prefixes: &["XDS_HEADER_", "ISTIO_META_", "ISTIO_METAJSON_"],
        needs: |effects| effects.xds,
    },
    Part {
        names: &["CA_ADDRESS", "CA_ROOT_CA", "ALT_CA_HOSTNAME", "SECRET_TTL"],
        prefixes: &["CA_HEADER_"],
        needs: |effects| effects.istio_ca,
    },
    Part {
        names: &["AUTH_TOKEN", "CLUSTER_ID"],
        prefixes: &[],
        needs: |effects| effects.xds || effects.istio_ca,
    },
    Part { names: &["LOCAL_CA_DIR"], prefixes: &[], needs: |effects| effects.built_in_ca },
];

/// Metadata that means something to ourselves.
const OWN_METADATA: [&str; 3] = ["DNS_CAPTURE", "DNS_PROXY_ADDR", "ISTIO_VERSION"];

/// Applies the rules.
///
/// `KUBERNETES_SERVICE_HOST` is left alone: Kubernetes sets it in every pod, and it only picks a default for
/// `XDS_ADDRESS`. `RUST_BACKTRACE` is honoured by Rust itself.
pub(super) fn check(reader: &mut Reader<'_>) {
    for (name, only, expected) in RULES {
        if let Some(value) = reader.text(name).filter(|value| value != only) {
            reader.refuse(name, Some(value), expected);
        }
    }
}

/// Warns of what is set and has no effect.
pub(super) fn warn<'a>(
    reader: &Reader<'a>,
    proxy: &ProxyConfig,
    effects: &Effects,
    warnings: &mut Vec<String>,
) {
    let mut idle: Vec<&'a str> = Vec::new();
    for part in PARTS.iter().filter(|part| !(part.needs)(effects)) {
        for name in part.names {
            idle.extend(reader.text(name).map(|_| *name));
        }
        idle.extend(reader.names().filter(|name| {
            let own = name.strip_prefix("ISTIO_META_").is_some_and(|name| OWN_METADATA.contains(&name));
            !own && part.prefixes.iter().any(|prefix| name.starts_with(prefix))
        }));
    }
    if !idle.is_empty() {
        warnings.push(format!(
            "these variables are set and have no effect beside the others: {}",
            idle.join(", ")
        ));
    }
    let metadata = proxy.proxy_metadata.keys().map(String::as_str);
    let metadata = metadata.filter(|name| !effects.xds && !OWN_METADATA.contains(name));
    let idle: Vec<&str> = proxy.ignored().into_iter().chain(metadata).collect();
    if !idle.is_empty() {
        warnings.push(format!("PROXY_CONFIG: these keys have no effect: {}", idle.join(", ")));
    }
}

/// Every name there is a rule for.
pub(super) fn names() -> Vec<&'static str> {
    let parts = PARTS.iter().filter(|part| part.names.contains(&"INPOD_ENABLED")).flat_map(|part| part.names);
    RULES.iter().map(|(name, ..)| *name).chain(parts.copied()).collect()
}
