//! For whom the process works (`PROXY_MODE`): one workload, or every pod of its node (datapath §1.2).
use std::path::PathBuf;

use adit_core::proxy::LocalWorkload;

use super::read::Reader;
use super::value::WorkloadInfo;

/// Where the CNI agent listens.
const AGENT: &str = "/var/run/ztunnel/ztunnel.sock";

/// For whom the process works.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// `PROXY_MODE=dedicated`: for the one workload that `PROXY_WORKLOAD_INFO` names, in our own network namespace.
    Dedicated(LocalWorkload),
    /// `PROXY_MODE=shared`: for the pods that the node's CNI agent names, each in its network namespace.
    Shared(Shared),
}

/// What only shared mode has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shared {
    /// `INPOD_UDS`: the CNI agent's socket.
    pub agent: PathBuf,
    /// `INPOD_PORT_REUSE`: another process of ours may listen in a pod at the same time, as during an upgrade.
    pub reuse_port: bool,
    /// Our own pod (`POD_NAMESPACE`, `POD_NAME`, `SERVICE_ACCOUNT`): if all are set, our own namespace has an HBONE listener,
    /// so that the mesh can reach our metrics as it reaches other workloads (datapath §5.8).
    pub own: Option<LocalWorkload>,
}

impl Mode {
    /// Reads the mode and what goes with it.
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let shared = match reader.text("PROXY_MODE") {
            None | Some("shared") => true,
            Some("dedicated") => false,
            Some(other) => {
                reader.refuse("PROXY_MODE", Some(other), "`shared` or `dedicated`");
                true
            }
        };
        let info = reader.text("PROXY_WORKLOAD_INFO");
        let modes = Shared::read(reader);
        if shared {
            return Self::Shared(modes);
        }
        let workload = match info {
            None => {
                let expected = "namespace/name/service-account: dedicated mode needs it";
                reader.refuse("PROXY_WORKLOAD_INFO", None, expected);
                None
            }
            Some(_) => reader.parsed("PROXY_WORKLOAD_INFO").map(|WorkloadInfo(workload)| workload),
        };
        // A placeholder where it was refused.
        Self::Dedicated(workload.unwrap_or_default())
    }

    /// Shared mode's settings, in that mode.
    #[must_use]
    pub const fn shared(&self) -> Option<&Shared> {
        match self {
            Self::Shared(shared) => Some(shared),
            Self::Dedicated(_) => None,
        }
    }

    /// The workload that shards serve from their start: the one of dedicated mode, or in shared mode our own pod.
    #[must_use]
    pub const fn own(&self) -> Option<&LocalWorkload> {
        match self {
            Self::Dedicated(workload) => Some(workload),
            Self::Shared(shared) => shared.own.as_ref(),
        }
    }
}

impl Shared {
    fn read(reader: &mut Reader<'_>) -> Self {
        let [namespace, name, account] =
            ["POD_NAMESPACE", "POD_NAME", "SERVICE_ACCOUNT"].map(|name| reader.text(name));
        let own = namespace.zip(name).zip(account).map(|((namespace, name), account)| LocalWorkload {
            namespace: namespace.into(),
            name: name.into(),
            service_account: account.into(),
        });
        Self {
            agent: reader.text("INPOD_UDS").unwrap_or(AGENT).into(),
            reuse_port: reader.boolean("INPOD_PORT_REUSE", true),
            own,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Mode, String> {
        let vars = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut reader = Reader::new(&vars);
        let mode = Mode::read(&mut reader);
        reader.finish(mode).map_err(|errors| errors.to_string())
    }

    #[test]
    fn it_is_shared_unless_told_otherwise() {
        let plain = Shared { agent: AGENT.into(), reuse_port: true, own: None };
        for pairs in [&[][..], &[("PROXY_MODE", "shared"), ("PROXY_WORKLOAD_INFO", "of/no/use")]] {
            assert_eq!(read(pairs), Ok(Mode::Shared(plain.clone())));
        }
        let pairs = [
            ("INPOD_UDS", "/agent.sock"),
            ("INPOD_PORT_REUSE", "false"),
            ("POD_NAMESPACE", "istio-system"),
            ("POD_NAME", "ztunnel-x"),
            ("SERVICE_ACCOUNT", "ztunnel"),
        ];
        let own = LocalWorkload {
            namespace: "istio-system".into(),
            name: "ztunnel-x".into(),
            service_account: "ztunnel".into(),
        };
        let all = Shared { agent: "/agent.sock".into(), reuse_port: false, own: Some(own.clone()) };
        let mode = read(&pairs).unwrap();
        assert_eq!((mode.own(), mode.shared()), (Some(&own), Some(&all)));
        for missing in 2..5 {
            let some: Vec<_> =
                pairs.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, p)| *p).collect();
            assert_eq!(read(&some).unwrap().own(), None, "without {}", pairs[missing].0);
        }
    }

    #[test]
    fn a_dedicated_proxy_is_told_for_whom_it_works() {
        let dedicated = ("PROXY_MODE", "dedicated");
        let mode = read(&[dedicated, ("PROXY_WORKLOAD_INFO", "shop/echo-1/echo")]).unwrap();
        assert_eq!(mode.own().map(ToString::to_string).as_deref(), Some("echo.shop (echo-1)"));
        assert_eq!(mode.shared(), None);
        let error = read(&[dedicated]).unwrap_err();
        assert!(
            error.contains("PROXY_WORKLOAD_INFO: ") && error.contains("dedicated mode needs it"),
            "{error}"
        );
        assert!(read(&[dedicated, ("PROXY_WORKLOAD_INFO", "x")]).is_err());
        let error = read(&[("PROXY_MODE", "both")]).unwrap_err();
        assert!(error.contains("PROXY_MODE: read \"both\", expected `shared` or `dedicated`"), "{error}");
    }
}
