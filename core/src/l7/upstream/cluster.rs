//! The endpoints of one service, port and subset, what is under way to each, and the choice between them.
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::gather::{Endpoint, Gathered, LeftOut, Spread};
use super::level::{Level, capacity};
use super::policy::{Balancer, RetryShare, TrafficPolicy};
use super::view::{ClusterView, EndpointView, LevelView};
use super::warmup::WHOLE;
use crate::l7::{
    Breaker, Counted, Ejection, Exchange, KeyHash, Outcome, Outliers, Overflow, RetryBudget, RetryPolicy,
};
use crate::mesh::Workload;
use crate::rng::Rng;
use crate::time::Instant;

/// How often one is drawn again that was tried before or is still warming up.
const DRAWS: u32 = 5;

/// What a choice depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pick<'a> {
    /// The request's key; counts where keys have owners.
    pub key: Option<KeyHash>,
    /// Uids of endpoints that this request has been tried at: others go first, except where a key has an owner.
    pub tried: &'a [Arc<str>],
    /// Uid of the endpoint that the client's session is with: it is taken if it may be.
    pub persisted: Option<&'a str>,
}

/// Why nobody is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NoEndpoint {
    /// Status 503, flag `UH`.
    #[error("there is no healthy endpoint: nobody is behind the service, port and subset")]
    Empty,
    /// Status 503, flag `UH`.
    #[error(
        "there is no endpoint that takes requests: those that are there have capacity 0, or their locality has no share"
    )]
    Weightless,
    /// Status 503, flag `UH`.
    #[error("there is no healthy endpoint: all are ejected for failures (outlierDetection)")]
    Ejected,
    /// Status 503, flag `UO`.
    #[error(transparent)]
    Overflow(#[from] Overflow),
}

/// An endpoint that a request goes to. It is given back with [`Cluster::end`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a request counts as under way until Cluster::end"]
pub struct Chosen {
    /// Who it is.
    pub workload: Arc<Workload>,
    /// Its port.
    pub port: u16,
    /// Which member it is. Places change, ids do not.
    id: u64,
    place: usize,
}

#[derive(Debug)]
struct Member {
    endpoint: Endpoint,
    id: u64,
    outstanding: u32,
    /// When it came, if others were there before it.
    since: Option<Instant>,
    ejected: bool,
    /// What it has saved up until its next turn.
    credit: i64,
}

/// The endpoints of one service, port and subset, and all that is known of them. Endpoints that stay keep what is known when
/// others come and go, or the policy changes.
#[derive(Debug)]
pub struct Cluster {
    policy: Arc<TrafficPolicy>,
    /// By uid.
    members: Vec<Member>,
    spread: Spread,
    left_out: Vec<LeftOut>,
    levels: Vec<Level>,
    outliers: Option<Outliers<Arc<str>>>,
    breaker: Breaker,
    budget: RetryBudget,
    next_id: u64,
    /// Until then somebody is warming up.
    warming: Instant,
}

impl Cluster {
    /// One without endpoints.
    #[must_use]
    pub fn new(policy: Arc<TrafficPolicy>) -> Self {
        let RetryShare { percent, min } = policy.retry_share();
        Self {
            outliers: policy.outliers.clone().map(Outliers::new),
            policy,
            members: Vec::new(),
            spread: Spread::default(),
            left_out: Vec::new(),
            levels: Vec::new(),
            breaker: Breaker::default(),
            budget: RetryBudget::new(percent, min),
            next_id: 0,
            warming: Instant::ZERO,
        }
    }

    /// What is said of it.
    #[must_use]
    pub const fn policy(&self) -> &Arc<TrafficPolicy> {
        &self.policy
    }

    /// Something else is said of it. The endpoints are to be [gathered](super::endpoints_of) again if localities or outliers
    /// are concerned.
    pub fn handle_policy(&mut self, policy: Arc<TrafficPolicy>) {
        if policy == self.policy {
            return;
        }
        self.outliers = policy.outliers.clone().map(|settings| match self.outliers.take() {
            Some(mut known) => {
                known.handle_settings(settings);
                known
            }
            None => Outliers::new(settings),
        });
        let RetryShare { percent, min } = policy.retry_share();
        self.budget.handle_bounds(percent, min);
        self.policy = policy;
        self.arrange();
    }

    /// These are the endpoints now.
    pub fn handle_endpoints(&mut self, now: Instant, gathered: Gathered) {
        let Gathered { mut endpoints, spread, left_out } = gathered;
        endpoints.sort_by(|a, b| a.workload.uid.cmp(&b.workload.uid));
        endpoints.dedup_by(|a, b| a.workload.uid == b.workload.uid);
        // Who comes first of all takes no load from anybody: there is nothing to warm up beside.
        let warmup = self.policy.warmup.as_ref().filter(|_| !self.members.is_empty());
        let mut known = core::mem::take(&mut self.members).into_iter().peekable();
        for endpoint in endpoints {
            let uid = &endpoint.workload.uid;
            while known.next_if(|member| member.endpoint.workload.uid < *uid).is_some() {}
            let member = match known.next_if(|member| member.endpoint.workload.uid == *uid) {
                Some(member) => Member { endpoint, ..member },
                None => {
                    self.next_id = self.next_id.saturating_add(1);
                    if let Some(warmup) = warmup {
                        self.warming = self.warming.max(now + warmup.duration);
                    }
                    let since = warmup.map(|_| now);
                    Member { endpoint, id: self.next_id, outstanding: 0, since, ejected: false, credit: 0 }
                }
            };
            self.members.push(member);
        }
        (self.spread, self.left_out) = (spread, left_out);
        if let Some(outliers) = &mut self.outliers {
            let there: BTreeSet<_> =
                self.members.iter().map(|member| Arc::clone(&member.endpoint.workload.uid)).collect();
            outliers.retain(&there);
        }
        self.arrange();
    }

    /// Sorts the members into levels.
    fn arrange(&mut self) {
        let table = match self.policy.balancer {
            Balancer::Hash { table, .. } => Some(table),
            Balancer::LeastRequest | Balancer::RoundRobin | Balancer::Random => None,
        };
        let levels: BTreeSet<u16> = self.members.iter().map(|member| member.endpoint.level).collect();
        let level = |level: u16| {
            let members = self.members.iter().enumerate();
            let here = members.filter(|(_, it)| it.endpoint.level == level && it.endpoint.weight > 0);
            let named = here.map(|(place, it)| (place, &*it.endpoint.workload.uid, it.endpoint.weight));
            Level::new(&named.collect::<Vec<_>>(), table)
        };
        self.levels = levels.into_iter().map(level).collect();
        self.open();
    }

    /// Says who may be chosen, after somebody was ejected or came back.
    fn open(&mut self) {
        for member in &mut self.members {
            let ejected = |outliers: &Outliers<_>| outliers.is_ejected(&member.endpoint.workload.uid);
            member.ejected = self.outliers.as_ref().is_some_and(ejected);
        }
        let members = &self.members;
        let is_healthy = |place: usize| members.get(place).is_some_and(|member| !member.ejected);
        let count = |level: &Level| {
            (level.all().iter().filter(|place| is_healthy(**place)).count(), level.all().len())
        };
        let minimum = usize::try_from(self.policy.min_health_percent).unwrap_or(usize::MAX);
        let too_few =
            |(healthy, of): (usize, usize)| healthy.saturating_mul(100) < of.saturating_mul(minimum);
        let together = self.levels.iter().map(count).fold((0_usize, 0_usize), |sum, level| {
            (sum.0.saturating_add(level.0), sum.1.saturating_add(level.1))
        });
        let mut capacities = self.levels.iter().map(|level| capacity(count(level).0, level.all().len()));
        let enough = capacities.by_ref().fold(0, u64::saturating_add) >= 100;
        let mut rest = 100_u64;
        for level in &mut self.levels {
            let counts = count(level);
            level.ignores_ejections = match self.spread {
                Spread::Failover => !enough && too_few(counts),
                Spread::Shares(_) => too_few(together),
            };
            let all = level.ignores_ejections;
            level.set_open(
                |place| all || is_healthy(place),
                |place| members.get(place).map_or(0, |member| member.endpoint.weight),
            );
            let capacity = capacity(level.open().len(), level.all().len());
            level.load = match &self.spread {
                Spread::Failover => capacity.min(rest),
                Spread::Shares(shares) => {
                    let first = level.all().first().and_then(|place| members.get(*place));
                    let share = first.and_then(|member| shares.get(usize::from(member.endpoint.level)));
                    capacity.saturating_mul(share.copied().unwrap_or_default().into())
                }
            };
            rest = rest.saturating_sub(level.load);
        }
    }

    /// Chooses an endpoint for a request, or for another attempt of one, which is under way from now on.
    ///
    /// # Errors
    /// There is nobody, or too much is under way.
    pub fn choose(&mut self, now: Instant, pick: &Pick<'_>, rng: &mut Rng) -> Result<Chosen, NoEndpoint> {
        let place = match pick.persisted.and_then(|uid| self.persisted(uid)) {
            Some(place) => place,
            None => self.draw(now, pick, rng).ok_or_else(|| self.nobody())?,
        };
        let member = self.members.get_mut(place).ok_or(NoEndpoint::Empty)?;
        self.breaker.begin(Counted::Request, self.policy.limits)?;
        member.outstanding = member.outstanding.saturating_add(1);
        let Endpoint { workload, port, .. } = &member.endpoint;
        Ok(Chosen { workload: Arc::clone(workload), port: *port, id: member.id, place })
    }

    fn nobody(&self) -> NoEndpoint {
        match () {
            () if self.members.is_empty() => NoEndpoint::Empty,
            () if self.members.iter().any(|member| member.ejected && member.endpoint.weight > 0) => {
                NoEndpoint::Ejected
            }
            () => NoEndpoint::Weightless,
        }
    }

    /// The endpoint of a session, if it may be chosen.
    fn persisted(&self, uid: &str) -> Option<usize> {
        let by_uid = |member: &Member| (*member.endpoint.workload.uid).cmp(uid);
        let place = self.members.binary_search_by(by_uid).ok()?;
        let level = self.levels.iter().find(|level| level.all().binary_search(&place).is_ok())?;
        level.open().binary_search(&place).is_ok().then_some(place)
    }

    fn draw(&mut self, now: Instant, pick: &Pick<'_>, rng: &mut Rng) -> Option<usize> {
        // As `Rng::weighted`, which gives no place.
        let total = self.levels.iter().map(|level| level.load).fold(0, u64::saturating_add);
        let mut ticket = rng.below(total);
        let level = self.levels.iter_mut().find(|level| match ticket.checked_sub(level.load) {
            Some(rest) => {
                ticket = rest;
                false
            }
            None => true,
        })?;
        let members = &mut self.members;
        let scene = Scene { now, pick, policy: &self.policy, warming: now < self.warming };
        match &self.policy.balancer {
            Balancer::LeastRequest => {
                let first = scene.draw(level, members, rng)?;
                let second = scene.draw(level, members, rng)?;
                let burden = |place: usize| {
                    let member = members.get(place);
                    member.map_or((0, 1), |it| (u64::from(it.outstanding), u64::from(it.endpoint.weight)))
                };
                let ((a, a_weight), (b, b_weight)) = (burden(first), burden(second));
                // Where both have as much to do for their weight, the chance of the draw decides, which has followed weights.
                let first_has_less = a.saturating_mul(b_weight) <= b.saturating_mul(a_weight);
                Some(if first_has_less { first } else { second })
            }
            Balancer::RoundRobin if level.is_even() && !scene.warming => scene.in_turn(level, members),
            Balancer::RoundRobin => scene.by_credit(level, members),
            Balancer::Random => scene.draw(level, members, rng),
            Balancer::Hash { .. } => {
                let all = level.ignores_ejections;
                let is_open = |place: usize| all || members.get(place).is_some_and(|member| !member.ejected);
                let owner = pick.key.and_then(|key| level.owner(key, is_open));
                owner.or_else(|| scene.draw(level, members, rng))
            }
        }
    }

    /// An attempt went so. Tells if the endpoint is ejected for it.
    pub fn handle_outcome(&mut self, now: Instant, chosen: &Chosen, outcome: Outcome) -> Option<Ejection> {
        let of = self.members.len();
        self.place(chosen)?;
        let ejection = self.outliers.as_mut()?.record(now, &chosen.workload.uid, outcome, of);
        if ejection.is_some() {
            self.open();
        }
        ejection
    }

    /// An attempt is over, whatever became of it.
    pub fn end(&mut self, chosen: Chosen) {
        self.breaker.end(Counted::Request);
        if let Some(member) = self.place(&chosen).and_then(|place| self.members.get_mut(place)) {
            member.outstanding = member.outstanding.saturating_sub(1);
        }
    }

    /// Where the member is now that was chosen; `None`: it has gone.
    fn place(&self, chosen: &Chosen) -> Option<usize> {
        let is = |place: usize| self.members.get(place).is_some_and(|member| member.id == chosen.id);
        if is(chosen.place) {
            return Some(chosen.place);
        }
        let by_uid = |member: &Member| member.endpoint.workload.uid.cmp(&chosen.workload.uid);
        self.members.binary_search_by(by_uid).ok().filter(|place| is(*place))
    }

    /// A request begins, and may be tried as the policy says. It is over with [`Exchange::finish`].
    pub const fn exchange(&mut self, policy: Arc<RetryPolicy>) -> Exchange {
        self.budget.begin();
        Exchange::new(policy)
    }

    /// What exchanges ask whether they may be retried.
    pub const fn budget(&mut self) -> &mut RetryBudget {
        &mut self.budget
    }

    /// A connection begins, or the wait of a request for one. (What [`choose`](Self::choose) returns counts by itself.)
    ///
    /// # Errors
    /// There are too many: status 503, flag `UO`.
    pub fn begin(&mut self, what: Counted) -> Result<(), Overflow> {
        self.breaker.begin(what, self.policy.limits)
    }

    /// A connection ends, or the wait of a request for one.
    pub const fn finish(&mut self, what: Counted) {
        self.breaker.end(what);
    }

    /// Lets those come back whose ejection is over.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.outliers.as_mut().is_some_and(|outliers| outliers.handle_timeout(now)) {
            self.open();
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.outliers.as_ref()?.poll_timeout()
    }

    /// Whether nothing is under way: it may be forgotten.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        let breaker = self.breaker;
        let waiting = breaker.count(Counted::Connection) == 0 && breaker.count(Counted::Pending) == 0;
        waiting && breaker.count(Counted::Request) == 0 && self.budget.in_use().0 == 0
    }

    /// What it is like now.
    #[must_use]
    pub fn view(&self, now: Instant) -> ClusterView {
        let endpoint = |member: &Member| EndpointView {
            workload: Arc::clone(&member.endpoint.workload),
            port: member.endpoint.port,
            weight: member.endpoint.weight,
            level: member.endpoint.level,
            outstanding: member.outstanding,
            ejected: self.outliers.as_ref().and_then(|it| it.ejected_until(&member.endpoint.workload.uid)),
            share: share(&self.policy, member, now),
        };
        let level = |level: &Level| LevelView {
            level: level
                .all()
                .first()
                .and_then(|place| self.members.get(*place))
                .map_or(0, |it| it.endpoint.level),
            endpoints: level.all().len(),
            open: level.open().len(),
            load: level.load,
            ignores_ejections: level.ignores_ejections,
        };
        ClusterView {
            endpoints: self.members.iter().map(endpoint).collect(),
            levels: self.levels.iter().map(level).collect(),
            left_out: self.left_out.clone(),
            under_way: [Counted::Connection, Counted::Pending, Counted::Request]
                .map(|what| self.breaker.count(what)),
            limits: self.policy.limits,
            exchanges: self.budget.in_use(),
        }
    }
}

fn share(policy: &TrafficPolicy, member: &Member, now: Instant) -> u16 {
    let since = policy.warmup.as_ref().zip(member.since);
    since.map_or(WHOLE, |(warmup, since)| warmup.share(since, now))
}

/// One choice within a level.
struct Scene<'a> {
    now: Instant,
    pick: &'a Pick<'a>,
    policy: &'a TrafficPolicy,
    warming: bool,
}

impl Scene<'_> {
    fn is_tried(&self, members: &[Member], place: usize) -> bool {
        let uid = |member: &Member| self.pick.tried.contains(&member.endpoint.workload.uid);
        !self.pick.tried.is_empty() && members.get(place).is_some_and(uid)
    }

    /// Whether chance lets it be chosen, if it is still warming up.
    fn is_warm(&self, members: &[Member], place: usize, rng: &mut Rng) -> bool {
        let share = |member| u64::from(share(self.policy, member, self.now));
        !self.warming || members.get(place).is_none_or(|member| rng.below(WHOLE.into()) < share(member))
    }

    /// By weight; one that was not tried, if there is one.
    fn draw(&self, level: &Level, members: &[Member], rng: &mut Rng) -> Option<usize> {
        let mut place = level.draw(rng)?;
        for _ in 0..DRAWS {
            if !self.is_tried(members, place) && self.is_warm(members, place, rng) {
                return Some(place);
            }
            place = level.draw(rng)?;
        }
        match self.is_tried(members, place) {
            true => level.any(rng, |place| !self.is_tried(members, place)).or(Some(place)),
            false => Some(place),
        }
    }

    /// The next in turn that was not tried; if all were, the next.
    fn in_turn(&self, level: &mut Level, members: &[Member]) -> Option<usize> {
        let first = level.next()?;
        let mut place = first;
        for _ in 0..self.pick.tried.len().min(level.open().len()) {
            if !self.is_tried(members, place) {
                return Some(place);
            }
            place = level.next()?;
        }
        Some(if self.is_tried(members, place) { first } else { place })
    }

    /// Everybody saves up its weight, and who has most spends what all have saved: turns in proportion to weights, and as far
    /// apart as can be.
    fn by_credit(&self, level: &Level, members: &mut [Member]) -> Option<usize> {
        let (mut total, mut best) = (0_i64, None);
        for place in level.open() {
            let tried = self.is_tried(members, *place);
            let Some(member) = members.get_mut(*place) else { continue };
            let share = if self.warming { share(self.policy, member, self.now) } else { WHOLE };
            let weight = i64::from(member.endpoint.weight).saturating_mul(share.into());
            member.credit = member.credit.saturating_add(weight);
            total = total.saturating_add(weight);
            let rank = (!tried, member.credit);
            if best.is_none_or(|(best, _)| rank > best) {
                best = Some((rank, *place));
            }
        }
        let (_, place) = best?;
        let member = members.get_mut(place)?;
        member.credit = member.credit.saturating_sub(total);
        Some(place)
    }
}

#[cfg(test)]
mod laws;
#[cfg(test)]
pub(super) mod tests;
