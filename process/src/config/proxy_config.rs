//! `PROXY_CONFIG`: the part of a mesh's `defaultConfig` that bears on a node proxy (interfaces §7.2).
use std::collections::BTreeMap;

use serde::Deserialize;

use super::read::Reader;

const NAME: &str = "PROXY_CONFIG";
/// The prefix of metadata; the map may leave it away.
const PREFIX: &str = "ISTIO_META_";

/// What `PROXY_CONFIG` says. Keys that only sidecars know are named in [`ignored`](Self::ignored).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ProxyConfig {
    /// Address of the control plane, where `XDS_ADDRESS` gives none.
    pub(super) discovery_address: Option<String>,
    /// Port of the admin pages.
    pub(super) proxy_admin_port: Option<u16>,
    /// Port of the metrics.
    pub(super) stats_port: Option<u16>,
    /// Worker threads; 0 is one per CPU.
    pub(super) concurrency: Option<usize>,
    /// Metadata for the control plane, without its prefix.
    pub(super) proxy_metadata: BTreeMap<String, String>,
    /// All other keys.
    #[serde(flatten)]
    others: BTreeMap<String, serde_yaml_ng::Value>,
}

impl ProxyConfig {
    /// Reads the variable; what is no YAML of this form is refused.
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let Some(text) = reader.text(NAME) else { return Self::default() };
        match serde_yaml_ng::from_str::<Self>(text) {
            Ok(mut config) => {
                let metadata = std::mem::take(&mut config.proxy_metadata).into_iter();
                config.proxy_metadata = metadata
                    .map(|(key, value)| (key.strip_prefix(PREFIX).unwrap_or(&key).to_owned(), value))
                    .collect();
                config
            }
            Err(error) => {
                let expected = format!(
                    "YAML with discoveryAddress, proxyAdminPort, statsPort, concurrency, proxyMetadata ({error})"
                );
                reader.refuse(NAME, Some(text), &expected);
                Self::default()
            }
        }
    }

    /// The keys that mean nothing to a node proxy.
    pub(super) fn ignored(&self) -> Vec<&str> {
        self.others.keys().map(String::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ProxyConfig, String> {
        let vars = BTreeMap::from([(NAME.to_owned(), text.to_owned())]);
        let mut reader = Reader::new(&vars);
        let config = ProxyConfig::read(&mut reader);
        reader.finish(config).map_err(|errors| errors.to_string())
    }

    #[test]
    fn keys_are_heard_and_others_named() {
        let config = read(
            "discoveryAddress: istiod:15012\nproxyAdminPort: 1\nstatsPort: 2\nconcurrency: 3\ntracing: {}\n\
             proxyMetadata:\n  ISTIO_META_DNS_CAPTURE: 'true'\n  NETWORK: n\n",
        )
        .unwrap();
        assert_eq!(config.discovery_address.as_deref(), Some("istiod:15012"));
        assert_eq!(
            (config.proxy_admin_port, config.stats_port, config.concurrency),
            (Some(1), Some(2), Some(3))
        );
        let metadata: Vec<_> = config.proxy_metadata.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(metadata, [("DNS_CAPTURE", "true"), ("NETWORK", "n")]);
        assert_eq!(config.ignored(), ["tracing"]);
        assert_eq!(read("{}").unwrap(), ProxyConfig::default());
    }

    #[test]
    fn nonsense_is_refused_by_its_name() {
        for bad in ["~nonsense~", "concurrency: many", "- a", "statsPort: 70000", "proxyMetadata: x"] {
            let error = read(bad).expect_err(bad);
            assert!(error.contains("PROXY_CONFIG: read ") && error.contains("statsPort"), "{bad}: {error}");
        }
    }
}
