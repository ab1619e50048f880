//! The node's certificates: one manager for all shards, whoever issues.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use adit_control::ca::{IstioCa, LocalCa, Request};
use adit_control::cert::{Authority as Issuer, Certificates, Config as Manager, Held, start};
use adit_control::dns::Names;
use adit_core::identity::Identity;
use adit_core::time::{UnixTime, WallClock};
use adit_core::tls::{Facts, TlsContext, TlsPorts};
use adit_ops::admin::{Certificate, CertificateState, CertificateStatus};
use adit_ops::metrics::{CertificateFigures, HeldCertificates};
use adit_runtime::crypto::{Compliance, compliant_provider};
use adit_runtime::{CertificateReply, CertificateSource, Handle, record};

use crate::config::{Authority, Config};
use crate::instance::StartError;
use crate::thread::TokioThread;

/// The trust domain of a built-in authority, where none is set; it only names the root.
const TRUST_DOMAIN: &str = "cluster.local";

/// The manager, and the clock that its contexts judge certificates by.
#[derive(Clone)]
pub struct NodeCertificates {
    manager: Certificates,
    clock: Arc<WallClock>,
    /// Issuing is a matter of this machine alone, so a failure is there to stay.
    immediate: bool,
    patience: Duration,
    /// The manager's task lives on it.
    _thread: Arc<TokioThread>,
}

impl fmt::Debug for NodeCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeCertificates").finish_non_exhaustive()
    }
}

impl NodeCertificates {
    /// Starts the manager on `thread`, with the authority that `config` names, whose address `names` is asked for. Instances that shall trust each other share
    /// it.
    ///
    /// # Errors
    /// The authority cannot be used.
    pub fn start(
        config: &Config,
        seed: u64,
        names: Option<Names>,
        thread: Arc<TokioThread>,
    ) -> Result<Self, StartError> {
        let authority = match &config.authority {
            Authority::BuiltIn { directory: Some(directory) } => Issuer::Local(LocalCa::open(directory)?),
            Authority::BuiltIn { directory: None } => {
                Issuer::Local(LocalCa::in_memory(config.trust_domain.as_deref().unwrap_or(TRUST_DOMAIN))?)
            }
            Authority::Files(directory) => Issuer::files(directory),
            Authority::Istio { upstream, lifetime } => {
                tracing::info!(address = %upstream.server, "certificates come from the mesh's authority");
                // In dedicated mode we ask as the workload itself; in shared mode as the node, on behalf of its pods.
                let impersonate = config.mode.shared().is_some();
                let request = Request { lifetime: *lifetime, impersonate, signer: None };
                Issuer::Istio(IstioCa::new(
                    config.control.connector(upstream, config.control_mark(), names)?,
                    request,
                ))
            }
        };
        let immediate = !matches!(authority, Issuer::Istio(_));
        let clock = Arc::new(WallClock::new(adit_runtime::wall_clock()));
        let compliance =
            if config.control.post_quantum_only { Compliance::PostQuantum } else { Compliance::None };
        let provider = compliant_provider(compliance)?;
        let ports = TlsPorts {
            // A recording can be replayed only with what the handshakes drew at random.
            provider: if config.record.is_some() { record::tapped(&provider) } else { provider },
            aead: adit_runtime::crypto::aead(),
            clock: Arc::clone(&clock),
        };
        let manager = Manager {
            authority,
            ports,
            mode: config.records,
            crl: config.crl.clone(),
            settings: adit_core::cert::Settings::default(),
            seed,
        };
        let manager = {
            let _entered = thread.enter();
            start(manager)
        };
        Ok(Self { manager, clock, immediate, patience: config.deadlines.certificate, _thread: thread })
    }

    /// Fetches the certificate of `identity` ahead. Where only this machine is needed for that, waits until it is there.
    ///
    /// # Errors
    /// It cannot be had, and waiting would not help.
    pub fn prepare(&self, identity: &Identity) -> Result<(), StartError> {
        self.manager.local([identity.clone()].into());
        if !self.immediate {
            return Ok(());
        }
        let (answer, answered) = mpsc::sync_channel(1);
        // Nobody waits any more only after the time is over.
        self.manager.request(identity, move |result| drop(answer.send(result.map(drop))));
        let late = |_| Err("there was none in time".into());
        let answer = answered.recv_timeout(self.patience).unwrap_or_else(late);
        answer.map_err(|reason| StartError::Certificate { identity: identity.clone(), reason })
    }

    /// Keeps the certificates of these identities, new ones fetched ahead, and no others.
    pub fn keep(&self, identities: BTreeSet<Identity>) {
        self.manager.local(identities);
    }

    /// For the shard behind `handle`.
    pub fn source(&self, handle: Handle) -> ManagedCertificates {
        ManagedCertificates::new(self.manager.clone(), handle)
    }

    /// What certificates are judged by.
    pub const fn clock(&self) -> &Arc<WallClock> {
        &self.clock
    }

    /// What the admin pages show.
    #[must_use]
    pub fn shown(&self) -> Vec<CertificateStatus> {
        self.manager.held().into_iter().map(|(identity, held)| status(identity, held)).collect()
    }

    /// What metrics tell.
    pub fn figures(&self) -> impl CertificateFigures + use<> {
        Figures(self.manager.clone())
    }
}

fn status(identity: Identity, held: Held) -> CertificateStatus {
    // What cannot be read is no certificate that was ever used.
    fn shown(chain: &[impl AsRef<[u8]>]) -> Vec<Certificate> {
        chain.iter().filter_map(|der| Certificate::from_der(der.as_ref()).ok()).collect()
    }
    let (state, context) = match held {
        Held::Initializing => (CertificateState::Initializing, None),
        Held::Available(context) => (CertificateState::Available, Some(context)),
        Held::Unavailable(reason) => (CertificateState::Unavailable(reason.to_string()), None),
    };
    let (cert_chain, root_certs) =
        context.map(|context| (shown(context.chain()), shown(context.roots()))).unwrap_or_default();
    CertificateStatus { identity, state, cert_chain, root_certs }
}

struct Figures(Certificates);

impl CertificateFigures for Figures {
    fn issued(&self) -> u64 {
        self.0.counters().issued()
    }

    fn failed(&self) -> u64 {
        self.0.counters().failed()
    }

    fn unreadable_lists(&self) -> u64 {
        self.0.counters().crl_failed()
    }

    fn held(&self) -> HeldCertificates {
        let mut all = HeldCertificates::default();
        for (_, held) in self.0.held() {
            match held {
                Held::Initializing => all.initializing += 1,
                Held::Unavailable(_) => all.unavailable += 1,
                Held::Available(context) => {
                    all.available += 1;
                    let ends = expiry(&context);
                    all.soonest_expiry = all.soonest_expiry.into_iter().chain(ends).min();
                }
            }
        }
        all
    }
}

/// When the workload's own certificate ends.
fn expiry(context: &TlsContext) -> Option<UnixTime> {
    let leaf = context.chain().first()?;
    Facts::of(leaf).ok().map(|facts| facts.validity.not_after)
}

/// One shard's way to the manager. Its requests are answered when the certificate is there; what was fetched ahead, renewals
/// and new revocation lists come by themselves until the shard has ended, which knows which of them it can use.
#[derive(Debug)]
pub struct ManagedCertificates(Certificates);

impl ManagedCertificates {
    fn new(certificates: Certificates, handle: Handle) -> Self {
        certificates.subscribe(move |identity, answer| {
            handle.certificate(identity.clone(), answer.clone());
            !handle.is_ended()
        });
        Self(certificates)
    }
}

impl CertificateSource for ManagedCertificates {
    fn request(&mut self, identity: &Identity, reply: CertificateReply) {
        self.0.request(identity, move |answer| reply.send(answer));
    }
}
