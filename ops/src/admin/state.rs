//! What the admin pages show, as the process gives it.
use std::sync::Arc;

use adit_core::mesh::Mesh;
use adit_core::proxy::observed::Connection;
use serde::Serialize;

use super::CertificateStatus;
use crate::capture::PodCapture;

/// A process's state, as its admin pages need it. Asked on the thread that serves them, so each answer must be quick.
pub trait AdminState: Send + Sync + 'static {
    /// The tables in force.
    fn mesh(&self) -> Arc<Mesh>;
    /// The tables of the local file, where there is one (`staticConfig`).
    fn static_mesh(&self) -> Option<Arc<Mesh>>;
    /// Every identity that a certificate is kept for.
    fn certificates(&self) -> Vec<CertificateStatus>;
    /// The proxies that run here, each with the workload it stands for (`workloadState`).
    fn proxies(&self) -> Vec<ProxyState>;
    /// What was last found of the capture of each pod (`/capture`); nothing where nobody looks.
    fn captures(&self) -> Vec<PodCapture> {
        Vec::new()
    }
    /// The connections that are open now, of all proxies.
    fn connections(&self) -> Vec<Arc<Connection>>;
    /// The configuration, as a JSON object of interfaces §4.2 (`config`).
    fn config(&self) -> serde_json::Value;
    /// What this build is (`version`).
    fn version(&self) -> Version;
    /// Begins to drain, as SIGTERM does (`/quitquitquit`).
    fn shut_down(&self);
}

/// One proxy of this process and its workload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProxyState {
    /// The pod's uid in shared mode, else the workload's.
    pub uid: Arc<str>,
    /// Whether it runs.
    pub status: ProxyStatus,
    /// Its pod's name.
    pub name: Arc<str>,
    /// Its pod's namespace.
    pub namespace: Arc<str>,
    /// Its pod's service account.
    pub service_account: Arc<str>,
}

/// Whether a proxy runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum ProxyStatus {
    /// Not yet.
    Pending,
    /// It does.
    Up,
}

/// What a build is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// Of this program.
    pub version: String,
    /// Commit it was built from.
    pub git_revision: String,
    /// Compiler.
    pub rust_version: String,
    /// `debug` or `release`.
    pub build_profile: String,
    /// `Clean`, `Modified` or `unknown`.
    pub build_status: String,
    /// `ISTIO_META_ISTIO_VERSION`, or `unknown`.
    pub istio_version: String,
    /// Such as `tls-aws-lc`.
    pub crypto_provider: String,
}
