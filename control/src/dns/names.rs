//! Looking host names up for the data plane: first in the mesh, where that is meant, then at name servers.
//!
//! The questions are the DNS proxy's own business with another client: the same server decides, relays, retries and guards
//! against forged responses. Here is what a stub resolver adds: A and AAAA at once, search domains, TCP when a datagram was
//! too small, and a memory of what name servers said.

use std::future::pending;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_core::dns::{NameError, NameScope, RecordType, Transport, host_answer, host_question};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::cache::Cache;
use super::server::{Event, MOST_EVENTS, ReplyTo, run};
use super::{Listeners, Setup};

/// Names that are looked up at one time; further ones are refused.
const MOST_LOOKUPS: usize = 1024;
/// Search domains that are tried, as in glibc.
const MOST_SEARCH: usize = 6;

/// The addresses of a host, or why there are none.
type Found = Result<Vec<IpAddr>, NameError>;

struct Lookup {
    name: Arc<str>,
    scope: NameScope,
    answer: Box<dyn FnOnce(Found) + Send>,
}

/// Asks for the addresses of hosts, from any thread; copies ask the same [`NameServer`].
#[derive(Clone, Debug)]
pub struct Names(mpsc::Sender<Lookup>);

/// How names are looked up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NamesConfig {
    /// How long one name may take in all. Default 10 s.
    pub limit: Duration,
    /// Appended in turn to a client's name that is not known as it is, unless a dot ends it: those of
    /// [`ResolvConf`](super::ResolvConf).
    pub search: Vec<Arc<str>>,
    /// Names whose addresses are kept, for as long as their records say. Default 4096 (datapath §2.5).
    pub cached: usize,
}

impl Default for NamesConfig {
    fn default() -> Self {
        Self { limit: Duration::from_secs(10), search: Vec::new(), cached: 4096 }
    }
}

/// Looks up what [`Names`] ask; nothing happens until it is [run](NameServer::run).
pub struct NameServer {
    lookups: mpsc::Receiver<Lookup>,
    setup: Setup,
    config: NamesConfig,
}

impl Names {
    /// Whom to ask, and the task that answers. `setup` is that of the DNS proxy; its subject's namespace decides what short
    /// names mean, its resolver whether AAAA is asked for.
    #[must_use]
    pub fn new(setup: Setup, config: NamesConfig) -> (Self, NameServer) {
        let (sender, lookups) = mpsc::channel(MOST_LOOKUPS);
        (Self(sender), NameServer { lookups, setup, config })
    }

    /// Has `answer` called with the addresses of `name`, or with why there are none, once, on the server's thread or, when
    /// it refuses, on this one. Does not block.
    pub fn request(&self, name: &str, scope: NameScope, answer: impl FnOnce(Found) + Send + 'static) {
        let lookup = Lookup { name: name.into(), scope, answer: Box::new(answer) };
        match self.0.try_send(lookup) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(lookup)) => (lookup.answer)(Err(NameError::Busy)),
            Err(mpsc::error::TrySendError::Closed(lookup)) => (lookup.answer)(Err(NameError::GivenUp)),
        }
    }

    /// The addresses of `name`, of either family.
    ///
    /// # Errors
    /// Why there are none.
    pub async fn resolve(&self, name: &str, scope: NameScope) -> Result<Vec<IpAddr>, NameError> {
        let (answer, answered) = oneshot::channel();
        // An error: nobody waits any more.
        self.request(name, scope, move |found| drop(answer.send(found)));
        answered.await.unwrap_or(Err(NameError::GivenUp))
    }
}

impl NameServer {
    /// Looks names up until every [`Names`] is dropped. Whoever still waits when this future is dropped gets no answer.
    ///
    /// # Errors
    /// As [`serve`](super::serve).
    pub async fn run(mut self) -> io::Result<()> {
        let (events, reports) = mpsc::channel(MOST_EVENTS);
        let resolver = Arc::new(Stub {
            events: events.clone(),
            ipv6: self.setup.resolver.ipv6,
            cache: Cache::new(self.config.cached),
            config: self.config,
        });
        // All questions have one source here, and each name two.
        self.setup.forwarder.total = 2 * MOST_LOOKUPS;
        self.setup.forwarder.per_source = 2 * MOST_LOOKUPS;
        let serving = run(Listeners::default(), self.setup, (events, reports), pending());
        let mut serving = std::pin::pin!(serving);
        let mut under_way = JoinSet::new();
        loop {
            tokio::select! {
                ended = &mut serving => return ended,
                lookup = self.lookups.recv() => match lookup {
                    Some(lookup) if under_way.len() >= MOST_LOOKUPS => (lookup.answer)(Err(NameError::Busy)),
                    Some(lookup) => {
                        let stub = Arc::clone(&resolver);
                        under_way.spawn(async move {
                            let found = stub.find(&lookup.name, lookup.scope).await;
                            (lookup.answer)(found);
                        });
                    }
                    None => return Ok(()),
                },
                Some(_) = under_way.join_next() => {}
            }
        }
    }
}

/// What all look-ups share.
struct Stub {
    events: mpsc::Sender<Event>,
    ipv6: bool,
    cache: Cache,
    config: NamesConfig,
}

impl Stub {
    async fn find(&self, name: &str, scope: NameScope) -> Found {
        let deadline = Instant::now() + self.config.limit;
        let mut first = None;
        for name in candidates(name, scope, &self.config.search) {
            match self.host(&name, scope, deadline).await {
                Err(error @ (NameError::NotFound | NameError::NoAddress)) => {
                    first.get_or_insert(error);
                }
                decided => return decided,
            }
        }
        // What is said of the name itself counts more than what is said of those made of it.
        Err(first.unwrap_or(NameError::Invalid))
    }

    /// The addresses of exactly this name.
    async fn host(&self, name: &str, scope: NameScope, deadline: Instant) -> Found {
        // What the mesh says may change at any time; it is at hand.
        let keeps = scope != NameScope::Workload;
        if keeps && let Some(known) = self.cache.get(Instant::now(), name) {
            return Ok(known);
        }
        let six = async {
            if self.ipv6 { Some(self.ask(name, RecordType::AAAA, scope, deadline).await) } else { None }
        };
        let (four, six) = tokio::join!(self.ask(name, RecordType::A, scope, deadline), six);
        let (mut addresses, mut ttl, mut error) = (Vec::new(), u32::MAX, None);
        for answer in [Some(four), six].into_iter().flatten() {
            match answer {
                Ok(answer) => {
                    addresses.extend(answer.addresses);
                    ttl = ttl.min(answer.ttl);
                }
                // One family often has no address: what else went wrong says more.
                Err(other) if error.is_none_or(|error| error == NameError::NoAddress) => error = Some(other),
                Err(_) => {}
            }
        }
        if addresses.is_empty() {
            return Err(error.unwrap_or(NameError::NoAddress));
        }
        // Half an answer is used, and not kept.
        if keeps && error.is_none_or(|error| error == NameError::NoAddress) {
            self.cache.insert(Instant::now(), name, &addresses, Duration::from_secs(ttl.into()));
        }
        Ok(addresses)
    }

    async fn ask(
        &self,
        name: &str,
        record_type: RecordType,
        scope: NameScope,
        deadline: Instant,
    ) -> Result<adit_core::dns::HostAnswer, NameError> {
        let question = host_question(name, record_type)?;
        for transport in [Transport::Udp, Transport::Tcp] {
            let (replies, mut replied) = mpsc::channel(1);
            let octets = question.clone();
            let event = Event::Sought { client: ReplyTo::Own(replies), octets, transport, scope };
            self.events.send(event).await.map_err(|_| NameError::GivenUp)?;
            let reply = timeout_at(deadline, replied.recv()).await.map_err(|_| NameError::TimedOut)?;
            let message = reply.and_then(|reply| reply.message).ok_or(NameError::GivenUp)?;
            let answer = host_answer(&message, record_type)?;
            if !answer.truncated {
                return Ok(answer);
            }
        }
        // A stream that has no room for the addresses of one host.
        Err(NameError::ServerFailure)
    }
}

/// The names that `name` may stand for, in the order in which they are tried.
fn candidates(name: &str, scope: NameScope, search: &[Arc<str>]) -> Vec<String> {
    let absolute = name.strip_suffix('.');
    let own = absolute.unwrap_or(name).to_owned();
    let relative = absolute.is_none() && scope != NameScope::Outside;
    let domains = search.iter().take(if relative { MOST_SEARCH } else { 0 });
    let longer: Vec<String> = domains.map(|domain| format!("{own}.{domain}")).collect();
    std::iter::once(own).chain(longer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_domains_are_for_clients_names_without_a_dot_at_the_end() {
        let search: Vec<Arc<str>> = (0..8).map(|n| format!("d{n}").into()).collect();
        let all = |name, scope| candidates(name, scope, &search).join(" ");
        assert_eq!(all("web", NameScope::Workload), "web web.d0 web.d1 web.d2 web.d3 web.d4 web.d5");
        assert_eq!(all("web", NameScope::Machine), all("web", NameScope::Workload));
        assert_eq!(all("web.", NameScope::Workload), "web");
        assert_eq!(all("web", NameScope::Outside), "web");
    }
}
