//! The machine: one entry per identity, a queue by priority, at most eight calls at a time.
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::mem;
use core::time::Duration;

use super::backoff::Backoff;
use super::{CallId, CertError, Now, Output, Priority, Settings, State, Validity, WaiterId};
use crate::identity::Identity;
use crate::rng::Rng;
use crate::time::{Instant, UnixTime};

/// The longest that renewal by the wall clock sleeps, as that clock may jump.
const CLOCK_CHECK: Duration = Duration::from_secs(60);

/// Place in the queue: highest priority first, then who came first.
pub(super) type Place = (Reverse<Priority>, u64);

/// What happens next with an identity.
#[derive(Clone, Copy, Debug)]
pub(super) enum Work {
    /// Nothing until one of the two clocks says so.
    Resting { wall: Option<UnixTime>, instant: Instant },
    /// In the queue.
    Queued(Place),
    /// The authority was asked.
    Called(CallId),
}

#[derive(Debug)]
pub(super) struct Entry<C> {
    held: Option<(C, Validity)>,
    /// Why the last call failed.
    failure: Option<CertError>,
    pub(super) work: Work,
    backoff: Backoff,
    pub(super) waiters: Vec<WaiterId>,
}

impl<C> Entry<C> {
    /// Whether there is nothing to hand out and a call has failed.
    const fn unavailable(&self) -> Option<&CertError> {
        match &self.held {
            Some(_) => None,
            None => self.failure.as_ref(),
        }
    }

    const fn state(&self) -> State<'_, C> {
        match (&self.held, self.unavailable()) {
            (Some((certificate, _)), _) => State::Available(certificate),
            (None, Some(failure)) => State::Unavailable(failure),
            (None, None) => State::Initializing,
        }
    }
}

#[derive(Debug)]
pub(super) struct Call {
    identity: Identity,
    pub(super) deadline: Instant,
}

/// All certificates of a node: see the [module](super).
#[derive(Debug)]
pub struct Manager<C> {
    pub(super) settings: Settings,
    rng: Rng,
    pub(super) entries: BTreeMap<Identity, Entry<C>>,
    pub(super) queue: BTreeMap<Place, Identity>,
    pub(super) calls: BTreeMap<CallId, Call>,
    /// Identities with a workload on this node, as last told.
    local: BTreeSet<Identity>,
    pub(super) outputs: VecDeque<Output<C>>,
    /// Counts calls and places in the queue.
    counter: u64,
}

impl<C: Clone> Manager<C> {
    /// Nothing is known yet; `seed` makes the jitter.
    #[must_use]
    pub const fn new(settings: Settings, seed: u64) -> Self {
        Self {
            settings,
            rng: Rng::new(seed),
            entries: BTreeMap::new(),
            queue: BTreeMap::new(),
            calls: BTreeMap::new(),
            local: BTreeSet::new(),
            outputs: VecDeque::new(),
            counter: 0,
        }
    }

    /// A waiter wants the certificate of `identity`. It is answered once: at once when there is a certificate or when
    /// getting one has failed and not been repaired since, else when the call under way ends.
    pub fn handle_wanted(&mut self, now: Now, identity: &Identity, waiter: WaiterId) {
        let answer = match self.entries.get_mut(identity) {
            None => self.prepare(identity, Priority::RealTime).err().map(Err),
            Some(entry) => match (&entry.held, &entry.failure) {
                (Some((certificate, validity)), _) if !validity.is_over(now.wall) => {
                    Some(Ok(certificate.clone()))
                }
                (None, Some(failure)) => Some(Err(failure.clone())),
                (Some((_, validity)), _) if matches!(entry.work, Work::Resting { wall: None, instant } if now.instant < instant) => {
                    Some(Err(CertError::Expired { not_after: validity.not_after.0, now: now.wall.0 }))
                }
                _ if entry.waiters.len() >= self.settings.waiters => {
                    Some(Err(CertError::TooMany { what: "waiters", limit: self.settings.waiters }))
                }
                _ => {
                    self.enqueue(identity, Priority::RealTime);
                    None
                }
            },
        };
        match answer {
            Some(result) => {
                self.outputs.push_back(Output::Answer { waiter, identity: identity.clone(), result });
            }
            None => {
                if let Some(entry) = self.entries.get_mut(identity) {
                    entry.waiters.push(waiter);
                }
            }
        }
    }

    /// A workload of `identity` will need a certificate soon. Nothing happens when the identity is known already.
    ///
    /// # Errors
    /// [`CertError::TooMany`] identities are known.
    pub fn handle_prefetch(&mut self, identity: &Identity) -> Result<(), CertError> {
        if self.entries.contains_key(identity) {
            return Ok(());
        }
        self.prepare(identity, Priority::Warmup)
    }

    /// These are the identities with workloads on this node now: new ones are prefetched, those that were among them
    /// the last time and are not any more are forgotten. Answers how many there were no room for.
    pub fn handle_local(&mut self, identities: BTreeSet<Identity>) -> usize {
        let before = mem::take(&mut self.local);
        for gone in before.difference(&identities) {
            self.forget(gone);
        }
        let mut refused = 0_usize;
        for identity in &identities {
            if self.handle_prefetch(identity).is_err() {
                refused = refused.saturating_add(1);
            }
        }
        self.local = identities;
        refused
    }

    /// Nobody needs `identity` any more: its certificate goes, its waiters are told, a call under way is cancelled.
    pub fn forget(&mut self, identity: &Identity) {
        let Some(entry) = self.entries.remove(identity) else { return };
        match entry.work {
            Work::Resting { .. } => {}
            Work::Queued(place) => {
                self.queue.remove(&place);
            }
            Work::Called(call) => {
                self.calls.remove(&call);
                self.outputs.push_back(Output::Abort { call });
            }
        }
        let failure = CertError::Forgotten(identity.clone());
        self.answer(identity, entry.waiters, &Err(failure));
    }

    /// The authority issued a certificate. A call that has ended already is ignored.
    pub fn handle_issued(&mut self, now: Now, call: CallId, certificate: C, validity: Validity) {
        if validity.is_over(now.wall) {
            let error = CertError::Expired { not_after: validity.not_after.0, now: now.wall.0 };
            return self.handle_failed(now, call, error);
        }
        let Some(identity) = self.calls.remove(&call).map(|call| call.identity) else { return };
        let jitter = self.jitter(&validity);
        let Some(entry) = self.entries.get_mut(&identity) else { return };
        let half = validity.half_life().0.saturating_sub(jitter);
        // An authority that dates certificates far back, or repeats itself, is not asked every second.
        let left = validity.not_after.0.saturating_sub(now.wall.0);
        let renew = UnixTime(half.max(now.wall.0.saturating_add(left / 4)));
        entry.work = if validity.not_before <= now.wall && now.wall.0 < half {
            entry.backoff.reset();
            Work::Resting { wall: Some(renew), instant: Instant::FAR }
        } else {
            // Its time has not come or half of it is over already: another one is due at once, and will be no better
            // if the authority's clock is wrong. So the back-off alone paces it, even past its end.
            let delay = entry.backoff.next(now.instant, &mut self.rng);
            Work::Resting { wall: None, instant: now.instant + delay }
        };
        entry.failure = None;
        entry.held = Some((certificate.clone(), validity));
        let waiters = mem::take(&mut entry.waiters);
        let result = Ok(certificate);
        self.answer(&identity, waiters, &result);
        self.outputs.push_back(Output::Publish { identity, result });
    }

    /// A call failed. A certificate that is still valid stays in use. A call that has ended already is ignored.
    pub fn handle_failed(&mut self, now: Now, call: CallId, error: CertError) {
        let Some(identity) = self.calls.remove(&call).map(|call| call.identity) else { return };
        let Some(entry) = self.entries.get_mut(&identity) else { return };
        let delay = entry.backoff.next(now.instant, &mut self.rng);
        let held = mem::take(&mut entry.held);
        let had = held.is_some();
        entry.held = held.filter(|(_, validity)| !validity.is_over(now.wall));
        let wall = entry.held.as_ref().map(|(_, validity)| validity.not_after);
        entry.work = Work::Resting { wall, instant: now.instant + delay };
        entry.failure = Some(error.clone());
        let waiters = mem::take(&mut entry.waiters);
        // Waiters wait only when nothing valid is held.
        let result = match &entry.held {
            Some((certificate, _)) => Ok(certificate.clone()),
            None => Err(error),
        };
        self.answer(&identity, waiters, &result);
        if had && result.is_err() {
            self.outputs.push_back(Output::Publish { identity, result });
        }
    }

    /// What peers are checked against (revocation lists) has changed: every certificate is published again, so that
    /// new connections are judged anew.
    pub fn handle_trust_changed(&mut self) {
        for (identity, entry) in &self.entries {
            if let Some((certificate, _)) = &entry.held {
                let (identity, result) = (identity.clone(), Ok(certificate.clone()));
                self.outputs.push_back(Output::Publish { identity, result });
            }
        }
    }

    /// The authority is another, or is trusted by other roots: what has failed is tried again without waiting for its
    /// back-off. No more calls run at a time than ever.
    pub fn handle_authority_changed(&mut self) {
        let failed: Vec<_> = self
            .entries
            .iter_mut()
            .filter(|(_, entry)| entry.failure.is_some() && matches!(entry.work, Work::Resting { .. }))
            .map(|(identity, entry)| {
                entry.backoff.reset();
                (identity.clone(), renewal_priority(entry.held.is_some()))
            })
            .collect();
        for (identity, priority) in failed {
            self.enqueue(&identity, priority);
        }
    }

    /// Whatever certificates come from has others now (files were replaced): all are asked for again, in turn.
    pub fn handle_source_changed(&mut self) {
        let all: Vec<_> = self.entries.iter().map(|(i, e)| (i.clone(), e.held.is_some())).collect();
        for (identity, held) in all {
            self.enqueue(&identity, renewal_priority(held));
        }
    }

    /// Fires what is due. Call it whenever [`Self::poll_timeout`] is not later than now.
    pub fn handle_timeout(&mut self, now: Now) {
        let late: Vec<_> =
            self.calls.iter().filter(|(_, c)| c.deadline <= now.instant).map(|(id, _)| *id).collect();
        for call in late {
            self.outputs.push_back(Output::Abort { call });
            let error = CertError::Timeout(self.settings.call_timeout.as_secs());
            self.handle_failed(now, call, error);
        }
        let due: Vec<_> = self
            .entries
            .iter()
            .filter_map(|(identity, entry)| match entry.work {
                Work::Resting { wall, instant } => {
                    let due = instant <= now.instant || wall.is_some_and(|wall| wall <= now.wall);
                    let valid = entry.held.as_ref().is_some_and(|(_, held)| !held.is_over(now.wall));
                    due.then(|| (identity.clone(), renewal_priority(valid)))
                }
                Work::Queued(_) | Work::Called(_) => None,
            })
            .collect();
        for (identity, priority) in due {
            self.enqueue(&identity, priority);
        }
    }

    /// When to call [`Self::handle_timeout`], at the latest; `None` when nothing will happen by itself. At most a
    /// minute away while a renewal is ahead, as the wall clock may be set.
    #[must_use]
    pub fn poll_timeout(&self, now: Now) -> Option<Instant> {
        let calls = self.calls.values().map(|call| call.deadline);
        let entries = self.entries.values().filter_map(|entry| match entry.work {
            Work::Resting { wall, instant } => {
                let ahead = |wall: UnixTime| Duration::from_secs(wall.0.saturating_sub(now.wall.0));
                let wall = wall.map_or(Instant::FAR, |wall| now.instant + ahead(wall).min(CLOCK_CHECK));
                Some(wall.min(instant))
            }
            Work::Queued(_) | Work::Called(_) => None,
        });
        calls.chain(entries).min()
    }

    /// The next thing to do, until there is nothing more.
    pub fn poll_output(&mut self, now: Now) -> Option<Output<C>> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        if self.calls.len() >= self.settings.concurrency {
            return None;
        }
        let ((Reverse(priority), _), identity) = self.queue.pop_first()?;
        let call = CallId(self.count());
        if let Some(entry) = self.entries.get_mut(&identity) {
            entry.work = Work::Called(call);
        }
        let deadline = now.instant + self.settings.call_timeout;
        self.calls.insert(call, Call { identity: identity.clone(), deadline });
        Some(Output::Request { call, identity, priority })
    }

    /// Every identity with what is known of it, in their order.
    pub fn states(&self) -> impl Iterator<Item = (&Identity, State<'_, C>)> {
        self.entries.iter().map(|(identity, entry)| (identity, entry.state()))
    }

    /// What is known of `identity`; `None` when it was never wanted, or is forgotten.
    #[must_use]
    pub fn state(&self, identity: &Identity) -> Option<State<'_, C>> {
        self.entries.get(identity).map(Entry::state)
    }

    /// Calls under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.calls.len()
    }

    /// A new entry, queued.
    fn prepare(&mut self, identity: &Identity, priority: Priority) -> Result<(), CertError> {
        if self.entries.len() >= self.settings.identities {
            return Err(CertError::TooMany { what: "identities", limit: self.settings.identities });
        }
        let entry = Entry {
            held: None,
            failure: None,
            work: Work::Resting { wall: None, instant: Instant::FAR },
            backoff: Backoff::default(),
            waiters: Vec::new(),
        };
        self.entries.insert(identity.clone(), entry);
        self.enqueue(identity, priority);
        Ok(())
    }

    /// Puts an identity into the queue or further to its front, never back.
    fn enqueue(&mut self, identity: &Identity, priority: Priority) {
        let fresh = self.count();
        let Some(entry) = self.entries.get_mut(identity) else { return };
        let place = match entry.work {
            Work::Called(_) => return,
            Work::Queued((Reverse(before), _)) if before >= priority => return,
            Work::Queued(place) => {
                self.queue.remove(&place);
                (Reverse(priority), place.1)
            }
            Work::Resting { .. } => (Reverse(priority), fresh),
        };
        entry.work = Work::Queued(place);
        self.queue.insert(place, identity.clone());
    }

    fn answer(&mut self, identity: &Identity, waiters: Vec<WaiterId>, result: &Result<C, CertError>) {
        self.outputs.extend(waiters.into_iter().map(|waiter| Output::Answer {
            waiter,
            identity: identity.clone(),
            result: result.clone(),
        }));
    }

    /// Seconds before the half of the lifetime at which to renew.
    fn jitter(&mut self, validity: &Validity) -> u64 {
        let range = validity.lifetime().saturating_mul(u64::from(self.settings.jitter_per_mille)) / 1000;
        self.rng.below(range.saturating_add(1))
    }

    const fn count(&mut self) -> u64 {
        self.counter = self.counter.saturating_add(1);
        self.counter
    }
}

/// A renewal can wait as long as there is something valid.
const fn renewal_priority(valid: bool) -> Priority {
    if valid { Priority::Background } else { Priority::Warmup }
}
