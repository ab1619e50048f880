//! Any text as a `config_dump`: tables or a reason, never a panic; what was read is dumped and read as the same.
use std::sync::Arc;

use adit_core::mesh::Mesh;
use adit_core::proxy::observed::Connection;
use adit_ops::admin::dump::Dump;
use adit_ops::admin::undump::read;
use adit_ops::admin::{AdminState, CertificateStatus, ProxyState, Version};

/// A process with nothing but tables.
pub(super) struct Tables(pub(super) Arc<Mesh>);

impl AdminState for Tables {
    fn mesh(&self) -> Arc<Mesh> {
        Arc::clone(&self.0)
    }
    fn static_mesh(&self) -> Option<Arc<Mesh>> {
        None
    }
    fn certificates(&self) -> Vec<CertificateStatus> {
        Vec::new()
    }
    fn proxies(&self) -> Vec<ProxyState> {
        Vec::new()
    }
    fn connections(&self) -> Vec<Arc<Connection>> {
        Vec::new()
    }
    fn config(&self) -> serde_json::Value {
        serde_json::json!({"network": self.0.network()})
    }
    fn version(&self) -> Version {
        Version::default()
    }
    fn shut_down(&self) {}
}

/// The dump's octets.
pub fn body(data: &[u8]) {
    let first = match read(data) {
        Ok(first) => first,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert!(first.problems.iter().all(|problem| !problem.to_string().is_empty()));
    let text = Dump::of(&Tables(Arc::new(first.mesh.clone()))).collect::<Vec<_>>().concat();
    let again = match read(&text) {
        Ok(again) => again,
        Err(error) => panic!("a dump of ours: {error}"),
    };
    assert!(again.problems.is_empty(), "{:?}", again.problems);
    assert_eq!(first.mesh.network(), again.mesh.network());
    assert!(first.mesh.workloads().eq(again.mesh.workloads()));
    assert!(first.mesh.services().eq(again.mesh.services()));
    assert!(first.mesh.policies().eq(again.mesh.policies()));
}
