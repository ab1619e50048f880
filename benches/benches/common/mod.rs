//! TLS between two workloads in memory, for the benches that need it.
use std::sync::Arc;

use adit_control::ca::LocalCa;
use adit_core::identity::{Identity, IdentitySet};
use adit_core::time::WallClock;
use adit_core::tls::{Aead, RecordMode, Session, TlsContext, TlsPorts};
use adit_runtime::{crypto, wall_clock};

/// Client and server, before their handshake; `mode` and `aead` protect the records after it.
pub(crate) fn sessions(mode: RecordMode, aead: &Arc<dyn Aead>) -> [Session; 2] {
    let ca = LocalCa::in_memory("cluster.local").expect("randomness");
    let clock = Arc::new(WallClock::new(wall_clock()));
    let ports = TlsPorts { provider: crypto::provider(), aead: Arc::clone(aead), clock };
    let context = |name| {
        let identity = Identity::new("cluster.local", "bench", name).expect("a valid name");
        let credentials = ca.issue(&identity).expect("randomness");
        TlsContext::new(ports.clone(), credentials, mode).expect("usable credentials")
    };
    let (client, server) = (context("client"), context("server"));
    let expected = IdentitySet::single(server.identity().clone());
    let client = Session::client(&client, &expected).expect("a client's session");
    [client, Session::server(&server).expect("a server's session")]
}
