//! What the bodies stand on: a running relay, a server behind it, and clients.
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use adit_core::identity::Identity;
use adit_core::proxy::{Listener, Observed};

use super::Relay;
use crate::answers::Questions;
use crate::drive::{DriveConfig, Setup};
use crate::engine::Engine;
use crate::mailbox::{Handle, mailbox};
use crate::ports::{CertificateAnswer, CertificateSource, Observer};
use crate::socket::{BoundListener, ListenerSpec, SocketOptions, Transparency};
use crate::stream::LocalListeners;

/// No peer waits longer than this for anything: a hang becomes a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// An adapter, as the bodies use it.
pub trait Host: Copy + Send + 'static {
    /// Drives a shard on the calling thread until it is drained.
    ///
    /// # Errors
    /// The runtime cannot be built or the shard cannot be started.
    fn run<E: Engine, O: Observer, C: CertificateSource>(self, setup: Setup<E, O, C>) -> io::Result<()>;
}

/// A relay that runs on a thread of its own, and the server it relays to.
pub(super) struct Rig {
    /// Where clients connect.
    pub(super) address: SocketAddr,
    /// Where the relay's dials arrive.
    pub(super) server: TcpListener,
    pub(super) handle: Handle,
    ended: mpsc::Receiver<io::Result<()>>,
}

/// An observer and a certificate source that are never called.
fn no_certificates(_: &Identity) -> CertificateAnswer {
    Err("the relay asks for no certificate".into())
}

impl Rig {
    /// A relay in front of a fresh server.
    pub(super) fn start(host: impl Host, shape: impl FnOnce(Relay) -> Relay + Send + 'static) -> Self {
        let server = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let target = server.local_addr().expect("it is bound");
        Self::start_to(host, server, target, LocalListeners::default(), shape)
    }

    /// A relay to `target`, which need not be `server`.
    pub(super) fn start_to(
        host: impl Host,
        server: TcpListener,
        target: SocketAddr,
        local_listeners: LocalListeners,
        shape: impl FnOnce(Relay) -> Relay + Send + 'static,
    ) -> Self {
        let bound = listener();
        let address = bound.local_addr().expect("it is bound");
        let (handle, mailbox) = mailbox();
        let (report, ended) = mpsc::channel();
        thread::spawn(move || {
            let setup = Setup {
                engine: shape(Relay::to(target)),
                observer: |_: Observed| {},
                certificates: no_certificates,
                questions: Questions::default(),
                listeners: vec![bound],
                mailbox,
                // Small budgets, so that tests run into them.
                config: DriveConfig {
                    read_budget: 100_000,
                    accept_budget: 2,
                    local_listeners,
                    ..DriveConfig::default()
                },
            };
            // The receiver is gone only when the test has failed already.
            let _ = report.send(host.run(setup));
        });
        Self { address, server, handle, ended }
    }

    /// A client and the server's side of its connection.
    pub(super) fn connect(&self) -> (TcpStream, TcpStream) {
        let client = self.client();
        let (server, _) = self.server.accept().expect("the relay dials");
        patient(&server);
        (client, server)
    }

    /// A client, connected to the relay.
    pub(super) fn client(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).expect("the relay listens");
        patient(&client);
        client
    }

    /// Waits until the shard has ended by itself.
    pub(super) fn wait(self) {
        self.ended.recv_timeout(PATIENCE).expect("the shard ends in time").expect("the shard ends well");
        assert!(self.handle.is_ended());
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.handle.terminate();
    }
}

/// A listener for the relay.
pub(super) fn listener() -> BoundListener {
    let spec = ListenerSpec {
        listener: Listener::Outbound,
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        transparency: Transparency::Never,
        reuse_port: false,
    };
    spec.bind(&SocketOptions::default()).expect("a port is free")
}

fn patient(stream: &TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
}
