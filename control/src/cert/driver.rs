//! The task: carries out what the machine wants, and looks at files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant as StdInstant, SystemTime, UNIX_EPOCH};

use adit_core::cert::{CallId, CertError, Manager, Now, Output, State, Validity, WaiterId};
use adit_core::identity::Identity;
use adit_core::time::{Instant, UnixTime};
use adit_core::tls::{RecordMode, Revocations, TlsContext, TlsPorts};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, Id, JoinSet};

use super::authority::Changed;
use super::crl::Looked;
use super::{Answer, Authority, Command, Config, Counters, CrlFile, Held, Reply, Shown, Subscriber};
use crate::ca::answer;
use crate::watch::{INTERVAL, Watched};

type Issued = Result<(Arc<TlsContext>, Validity), CertError>;

/// Everything the task owns.
pub(super) struct Driver {
    authority: Arc<Authority>,
    ports: TlsPorts,
    mode: RecordMode,
    machine: Manager<Arc<TlsContext>>,
    crl: Option<CrlFile>,
    roots: Option<Watched>,
    /// Contexts with the revocation lists of now, made of those that the machine keeps.
    checked: BTreeMap<Identity, (Arc<TlsContext>, Arc<TlsContext>)>,
    waiters: BTreeMap<WaiterId, Reply>,
    last_waiter: u64,
    subscribers: Vec<Subscriber>,
    calls: JoinSet<Issued>,
    running: BTreeMap<CallId, (Identity, AbortHandle)>,
    by_task: BTreeMap<Id, CallId>,
    counters: Arc<Counters>,
    shown: Shown,
    began: StdInstant,
}

impl Driver {
    pub(super) fn new(config: Config, counters: Arc<Counters>, shown: Shown) -> Self {
        let mut roots = config.authority.roots();
        if let Some(roots) = &mut roots {
            // The first connection reads them itself.
            let _ = roots.poll();
        }
        let mut driver = Self {
            authority: Arc::new(config.authority),
            ports: config.ports,
            mode: config.mode,
            machine: Manager::new(config.settings, config.seed),
            crl: config.crl.map(CrlFile::new),
            roots,
            checked: BTreeMap::new(),
            waiters: BTreeMap::new(),
            last_waiter: 0,
            subscribers: Vec::new(),
            calls: JoinSet::new(),
            running: BTreeMap::new(),
            by_task: BTreeMap::new(),
            counters,
            shown,
            began: StdInstant::now(),
        };
        driver.look_at_crl();
        driver
    }

    /// Runs until the last handle is dropped.
    pub(super) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut look = tokio::time::interval(INTERVAL);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let sleep = self.machine.poll_timeout(self.now()).map(|at| self.began + since_start(at));
            let sleep = async {
                match sleep {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.handle_command(command),
                    None => return,
                },
                Some(ended) = self.calls.join_next_with_id() => self.handle_ended(ended),
                () = sleep => {
                    let now = self.now();
                    self.machine.handle_timeout(now);
                }
                _ = look.tick() => self.look_at_files(),
            }
            self.carry_out();
        }
    }

    fn now(&self) -> Now {
        let nanos = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Now { instant: Instant::from_nanos(nanos), wall: UnixTime(wall) }
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Request(identity, reply) => {
                self.last_waiter += 1;
                let waiter = WaiterId(self.last_waiter);
                self.waiters.insert(waiter, reply);
                let now = self.now();
                self.machine.handle_wanted(now, &identity, waiter);
                self.show(&identity);
            }
            Command::Subscribe(subscriber) => self.subscribers.push(subscriber),
            Command::Local(identities) => self.local(identities),
            Command::Forget(identity) => {
                self.checked.remove(&identity);
                self.machine.forget(&identity);
                self.show(&identity);
            }
        }
    }

    fn local(&mut self, identities: BTreeSet<Identity>) {
        let refused = self.machine.handle_local(identities);
        if refused > 0 {
            tracing::warn!("certificates of {refused} identities are not fetched ahead: there are too many");
        }
        let known: BTreeMap<_, _> =
            self.machine.states().map(|(identity, state)| (identity.clone(), held(state))).collect();
        self.checked.retain(|identity, _| known.contains_key(identity));
        *self.shown.lock() = known;
    }

    fn handle_ended(&mut self, ended: Result<(Id, Issued), tokio::task::JoinError>) {
        let (task, result) = match ended {
            Ok((task, result)) => (task, result),
            Err(error) => (error.id(), Err(CertError::Unusable("asking for it was broken off".into()))),
        };
        let Some(call) = self.by_task.remove(&task) else { return };
        let asked = self.running.remove(&call).map(|(identity, _)| identity);
        let now = self.now();
        match result {
            Ok((context, validity)) => {
                self.counters.issued.fetch_add(1, Ordering::Relaxed);
                let left = Duration::from_secs(validity.not_after.0.saturating_sub(now.wall.0));
                tracing::info!(identity = %context.identity(), valid_for = ?left, "certificate issued");
                self.machine.handle_issued(now, call, context, validity);
            }
            Err(error) => {
                self.counters.failed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!("no certificate: {error}");
                self.machine.handle_failed(now, call, error);
            }
        }
        if let Some(identity) = asked {
            self.show(&identity);
        }
    }

    /// Lets everybody see what the machine says of `identity` now.
    fn show(&self, identity: &Identity) {
        let mut shown = self.shown.lock();
        match self.machine.state(identity) {
            Some(state) => drop(shown.insert(identity.clone(), held(state))),
            None => drop(shown.remove(identity)),
        }
    }

    fn look_at_files(&mut self) {
        match self.authority.look(self.roots.as_mut()) {
            Changed::Nothing => {}
            Changed::Roots => {
                tracing::info!("the certificate authority's root certificates have changed");
                self.machine.handle_authority_changed();
            }
            Changed::Certificates => self.machine.handle_source_changed(),
        }
        self.look_at_crl();
    }

    fn look_at_crl(&mut self) {
        let Some(crl) = &mut self.crl else { return };
        let looked = crl.look();
        if let Looked::Failed { .. } = looked {
            self.counters.crl_failed.fetch_add(1, Ordering::Relaxed);
        }
        if matches!(looked, Looked::Changed | Looked::Failed { refusing: true }) {
            self.checked.clear();
            self.machine.handle_trust_changed();
        }
    }

    fn carry_out(&mut self) {
        loop {
            let now = self.now();
            let Some(output) = self.machine.poll_output(now) else { return };
            match output {
                Output::Request { call, identity, .. } => self.call(call, identity),
                Output::Abort { call } => {
                    if let Some((_, task)) = self.running.remove(&call) {
                        self.by_task.remove(&task.id());
                        task.abort();
                    }
                }
                Output::Answer { waiter, identity, result } => {
                    let answer = self.checked(&identity, result);
                    if let Some(reply) = self.waiters.remove(&waiter) {
                        reply(answer);
                    }
                }
                Output::Publish { identity, result } => {
                    let answer = self.checked(&identity, result);
                    self.subscribers.retain_mut(|subscriber| subscriber(&identity, &answer));
                }
            }
        }
    }

    fn call(&mut self, call: CallId, identity: Identity) {
        let (authority, ports, mode) = (Arc::clone(&self.authority), self.ports.clone(), self.mode);
        let wall = Duration::from_secs(self.now().wall.0);
        let asked = identity.clone();
        let task = self.calls.spawn(async move {
            let credentials = authority.issue(&asked).await?;
            answer::context(credentials, &ports, mode, rustls::pki_types::UnixTime::since_unix_epoch(wall))
        });
        self.by_task.insert(task.id(), call);
        self.running.insert(call, (identity, task));
    }

    /// The answer as shards get it: with the revocation lists of now.
    fn checked(&mut self, identity: &Identity, result: Result<Arc<TlsContext>, CertError>) -> Answer {
        let context = result.map_err(|error| Arc::from(error.to_string()))?;
        let Some(lists) = self.crl.as_ref().map(CrlFile::current) else { return Ok(context) };
        match self.checked.get(identity) {
            Some((of, checked)) if Arc::ptr_eq(of, &context) => Ok(Arc::clone(checked)),
            _ => {
                let checked = context.with_revocations(Arc::<Revocations>::clone(lists));
                self.checked.insert(identity.clone(), (context, Arc::clone(&checked)));
                Ok(checked)
            }
        }
    }
}

fn held(state: State<'_, Arc<TlsContext>>) -> Held {
    match state {
        State::Initializing => Held::Initializing,
        State::Available(context) => Held::Available(Arc::clone(context)),
        State::Unavailable(error) => Held::Unavailable(error.to_string().into()),
    }
}

const fn since_start(at: Instant) -> Duration {
    Duration::from_nanos(at.as_nanos())
}
