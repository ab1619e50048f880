//! Steady requests while something else happens.
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use adit_testkit::netns::{Result, enter, wait_until};

use super::place::Place;
use super::rig::Client;
use crate::cluster::SOON;
use crate::world::FAMILIES;

/// So many requests are made on a connection that is kept; nobody keeps one for ever, and no proxy of TCP can end one between two
/// requests.
const KEPT: usize = 20;

/// So long may a request take, whatever happens; else it hangs.
const HANGS: Duration = SOON;

/// What is known of one caller.
#[derive(Debug, Default)]
struct Told {
    failures: Vec<String>,
    slowest: Duration,
}

/// Asks again and again: on a connection of its own each time, or on one as long as it is kept.
#[derive(Debug)]
struct Caller {
    to: SocketAddr,
    kept: bool,
    done: AtomicUsize,
    failed: AtomicUsize,
    told: Mutex<Told>,
}

impl Caller {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, stop: &AtomicBool) {
        let mut connection = None;
        // The client's end of the last one: logs have it.
        let mut from = None;
        while !stop.load(Ordering::Relaxed) {
            let begun = Instant::now();
            let asked = self.ask(connection.take(), &mut from);
            let took = begun.elapsed();
            let mut told = self.told();
            told.slowest = told.slowest.max(took);
            match asked {
                Ok(next) => {
                    connection = next;
                    self.done.fetch_add(1, Ordering::Relaxed);
                }
                Err(why) => {
                    told.failures.push(format!("{from:?}, kept: {}: {why}, after {took:?}", self.kept));
                    drop(told);
                    self.failed.fetch_add(1, Ordering::Relaxed);
                    // Who is refused at once does not ask a thousand times a second.
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        }
    }

    /// One request, on a connection that has served so many, or a new one; gives the connection for the next.
    fn ask(
        &self,
        connection: Option<(Client, usize)>,
        from: &mut Option<SocketAddr>,
    ) -> std::result::Result<Option<(Client, usize)>, String> {
        let new = || {
            Client::open(self.to).map(|client| (client, 0)).map_err(|error| format!("no connection: {error}"))
        };
        let (mut client, served) = connection.map_or_else(new, Ok)?;
        *from = client.0.get_ref().local_addr().ok();
        let reply = client.try_ask("POST", "/load", &[], b"a body")?;
        if reply.status != 200 || reply.told()["body"] != "a body" {
            return Err(format!("{reply:?}"));
        }
        let last = !self.kept || served + 1 == KEPT || reply.header("connection") == Some("close");
        Ok((!last).then_some((client, served + 1)))
    }
}

/// Four callers in one pod, two for each family. They end with it.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    callers: Vec<(Arc<Caller>, Option<JoinHandle<()>>)>,
}

impl Load {
    /// Starts requests from the pod `client` to port 80 of `service`.
    pub(super) fn start(place: &Place, service: &str) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let name = place.host("client").namespace().name().to_owned();
        let each = FAMILIES.into_iter().flat_map(|ipv6| [(ipv6, false), (ipv6, true)]);
        let callers = each.map(|(ipv6, kept)| {
            let to = place.at(service, 80, ipv6);
            let caller = Caller { to, kept, done: 0.into(), failed: 0.into(), told: Mutex::default() };
            let caller = Arc::new(caller);
            let (running, stop, name) = (Arc::clone(&caller), Arc::clone(&stop), name.clone());
            let thread = std::thread::spawn(move || {
                enter(&name, || running.run(&stop)).expect("the pod is there");
            });
            (caller, Some(thread))
        });
        let callers = callers.collect();
        Self { stop, callers }
    }

    /// Waits until each caller has had so many more answers.
    pub(super) fn wait_more(&self, answers: usize) -> Result<()> {
        self.wait(&format!("{answers} more answers for each"), answers, |caller| &caller.done)
    }

    /// Waits until each caller has failed (again).
    pub(super) fn wait_failed(&self) -> Result<()> {
        self.wait("a failure of each", 1, |caller| &caller.failed)
    }

    fn wait(&self, what: &str, more: usize, count: impl Fn(&Caller) -> &AtomicUsize) -> Result<()> {
        let count = |caller: &Caller| count(caller).load(Ordering::Relaxed);
        let wanted: Vec<_> = self.callers.iter().map(|(caller, _)| (caller, count(caller) + more)).collect();
        let done = || wanted.iter().all(|(caller, wanted)| count(caller) >= *wanted);
        wait_until(what, HANGS + SOON, done, || format!("{:#?}", self.callers))
    }

    /// Ends it. How many answers there were, and what has failed; nothing has hung.
    pub(super) fn finish(mut self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let mut answers = 0;
        let mut failures = Vec::new();
        for (caller, thread) in &mut self.callers {
            thread.take().map(JoinHandle::join).transpose().expect("no panic");
            let mut told = caller.told();
            assert!(told.slowest < HANGS, "{:?}: {told:?}", caller.to);
            answers += caller.done.load(Ordering::Relaxed);
            failures.extend(told.failures.drain(..).map(|why| format!("{}: {why}", caller.to)));
        }
        (answers, failures)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
