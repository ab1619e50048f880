//! Steady traffic: connections on which octets go to an echo and come back, each of them compared, and what became of them.
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use adit_testkit::netns::peer::{End, Script};
use adit_testkit::netns::{Host, Pattern, Result, enter, wait_until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::cluster::SOON;

/// Whoever waits longer for an octet hangs.
const SILENCE: Duration = SOON;

/// A peer that has vanished without a word is found out by pings: ten seconds until one, and twenty for its answer.
const VANISHED: Duration = Duration::from_secs(30);

/// How a flow goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// Before the first connection.
    pub(crate) after: Duration,
    /// Octets of a round: they go there and come back before the next.
    pub(crate) octets: usize,
    /// Between rounds, and between connections.
    pub(crate) pause: Duration,
    /// Rounds of one connection.
    pub(crate) rounds: u64,
    /// Whether a connection follows the one that has ended, well or not.
    pub(crate) again: bool,
    /// How long a round may take.
    pub(crate) patience: Duration,
}

/// One connection that ends only if something ends it.
pub(crate) const LONG: Manner = Manner {
    after: Duration::ZERO,
    octets: 8 << 10,
    pause: Duration::from_millis(10),
    rounds: u64::MAX,
    again: false,
    patience: SILENCE,
};

/// The same, and whoever is at the other end may vanish.
pub(crate) const FORLORN: Manner = Manner { patience: VANISHED.saturating_add(SILENCE), ..LONG };

/// A connection after the other.
pub(crate) const CALLS: Manner = Manner { rounds: 1, again: true, ..LONG };

/// A stream of connections between two pods, or one that lasts.
#[derive(Debug)]
pub(crate) struct Flow {
    what: String,
    manner: Manner,
    rounds: AtomicU64,
    connections: AtomicU64,
    failures: Mutex<Vec<End>>,
    ended: AtomicBool,
}

impl Flow {
    /// Rounds that went well.
    pub(crate) fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    /// From where to where, and how.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// How its connections ended that did not end well.
    pub(crate) fn failures(&self) -> Vec<End> {
        self.failed().clone()
    }

    /// Waits until something has ended it: not with silence, and not with a wrong octet.
    pub(crate) fn wait_cut(&self) -> Result<()> {
        let what = format!("the end of {}", self.what);
        wait_until(&what, self.manner.patience + SOON, || self.ended(), String::new)?;
        let failures = self.failures();
        assert!(matches!(failures[..], [End::Reset | End::Eof]), "{}: {failures:?}", self.what);
        Ok(())
    }

    fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    fn failed(&self) -> MutexGuard<'_, Vec<End>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(&self, namespace: String, to: SocketAddr, seed: u64, mut stop: watch::Receiver<bool>) {
        // Told to stop, or it is time.
        let _ = timeout(self.manner.after, stop.wait_for(|stopped| *stopped)).await;
        for number in 0.. {
            if *stop.borrow() {
                break;
            }
            let outcome = self.connection(&namespace, to, seed.wrapping_add(number), &mut stop).await;
            if let Err(end) = outcome {
                self.failed().push(end);
            }
            if !self.manner.again {
                break;
            }
            let _ = timeout(self.manner.pause, stop.wait_for(|stopped| *stopped)).await;
        }
        self.ended.store(true, Ordering::Relaxed);
    }

    async fn connection(
        &self,
        namespace: &str,
        to: SocketAddr,
        seed: u64,
        stop: &mut watch::Receiver<bool>,
    ) -> std::result::Result<(), End> {
        let mut exchange = Exchange::open(namespace, to, seed).await?;
        self.connections.fetch_add(1, Ordering::Relaxed);
        for round in 1..=self.manner.rounds {
            exchange.round(self.manner.octets, self.manner.patience).await?;
            self.rounds.fetch_add(1, Ordering::Relaxed);
            if round < self.manner.rounds {
                // Told to stop, or the pause is over.
                let told = stop.wait_for(|stopped| *stopped);
                if timeout(self.manner.pause, told).await.is_ok() {
                    break;
                }
            }
        }
        exchange.close().await
    }
}

/// A connection to an echo.
struct Exchange {
    stream: TcpStream,
    sent: Pattern,
    heard: Pattern,
}

impl Exchange {
    /// Opens one from inside a namespace.
    async fn open(namespace: &str, to: SocketAddr, seed: u64) -> std::result::Result<Self, End> {
        let mut stream = connect(namespace, to).await?;
        in_time(async { Ok(stream.write_all(format!("{}\n", Script::Echo).as_bytes()).await?) }).await?;
        Ok(Self { stream, sent: Pattern::new(seed), heard: Pattern::new(seed) })
    }

    /// Sends so many octets and reads them back, within that time.
    async fn round(&mut self, octets: usize, within: Duration) -> std::result::Result<(), End> {
        let mut buffer = vec![0; octets];
        self.sent.fill(&mut buffer);
        let (mut from, mut to) = self.stream.split();
        let mut back = vec![0; octets];
        let both = async {
            let (sent, heard) = tokio::join!(to.write_all(&buffer), from.read_exact(&mut back));
            sent?;
            heard?;
            Ok(())
        };
        timeout(within, both).await.unwrap_or(Err(End::Silence))?;
        if self.heard.matches(&back) { Ok(()) } else { Err(End::Wrong) }
    }

    /// Finishes, and waits for the echo to do so.
    async fn close(mut self) -> std::result::Result<(), End> {
        let closing = async {
            self.stream.shutdown().await?;
            Ok(self.stream.read(&mut [0]).await?)
        };
        if in_time(closing).await? == 0 { Ok(()) } else { Err(End::Wrong) }
    }
}

/// Connects from inside a namespace.
async fn connect(namespace: &str, to: SocketAddr) -> std::result::Result<TcpStream, End> {
    let socket = enter(namespace, || if to.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() });
    let socket = socket.map_err(|_| End::Failed)??;
    let stream = in_time(async { Ok(socket.connect(to).await?) }).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn in_time<T>(step: impl Future<Output = std::result::Result<T, End>>) -> std::result::Result<T, End> {
    timeout(SILENCE, step).await.unwrap_or(Err(End::Silence))
}

/// All flows of a test.
pub(crate) struct Traffic {
    tasks: Handle,
    stop: watch::Sender<bool>,
    flows: Vec<Arc<Flow>>,
    running: Vec<JoinHandle<()>>,
}

impl Traffic {
    pub(crate) fn new(tasks: Handle) -> Self {
        Self { tasks, stop: watch::Sender::new(false), flows: Vec::new(), running: Vec::new() }
    }

    /// Starts a flow to an echo.
    pub(crate) fn flow(&mut self, manner: Manner, from: &Host, to: SocketAddr) -> Arc<Flow> {
        let what =
            format!("{} to {to}, {}", from.namespace().name(), if manner.again { "calls" } else { "one" });
        let flow = Arc::new(Flow {
            what,
            manner,
            rounds: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            failures: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let (running, stop) = (Arc::clone(&flow), self.stop.subscribe());
        // Far from each other, for each connection has the next.
        let seed = (self.flows.len() as u64 + 1) << 32;
        let namespace = from.namespace().name().to_owned();
        self.running.push(self.tasks.spawn(async move { running.run(namespace, to, seed, stop).await }));
        self.flows.push(Arc::clone(&flow));
        flow
    }

    /// Waits until each of `flows` has done so many more rounds.
    pub(crate) fn wait_more(&self, flows: &[Arc<Flow>], rounds: u64) -> Result<()> {
        let wanted: Vec<_> = flows.iter().map(|flow| (flow, flow.rounds() + rounds)).collect();
        for (flow, wanted) in wanted {
            let what = format!("{rounds} more rounds of {}", flow.what);
            let done = || flow.rounds() >= wanted || flow.ended();
            wait_until(&what, SILENCE + SOON, done, || format!("{flow:?}"))?;
            assert!(flow.rounds() >= wanted, "ended before {what}: {flow:?}");
        }
        Ok(())
    }

    /// Waits until each of `flows` has done a round since, or has been cut.
    pub(crate) fn wait_one_or_cut(&self, flows: &[Arc<Flow>]) -> Result<()> {
        for (flow, before) in flows.iter().map(|flow| (flow, flow.rounds())).collect::<Vec<_>>() {
            let done = || flow.rounds() > before || flow.ended();
            wait_until(&format!("a round of {}", flow.what), SILENCE + SOON, done, || format!("{flow:?}"))?;
            if flow.ended() {
                flow.wait_cut()?;
            }
        }
        Ok(())
    }

    /// Rounds of all flows so far.
    pub(crate) fn rounds(&self) -> u64 {
        self.flows.iter().map(|flow| flow.rounds()).sum()
    }

    /// Connections of all flows so far.
    pub(crate) fn connections(&self) -> u64 {
        self.flows.iter().map(|flow| flow.connections.load(Ordering::Relaxed)).sum()
    }

    /// Stops everything, in order; what did not go well, and of which flow.
    pub(crate) fn finish(self) -> Vec<String> {
        self.stop.send_replace(true);
        for running in self.running {
            self.tasks.block_on(running).expect("no panic");
        }
        let failed = self.flows.iter().filter(|flow| !flow.failed().is_empty());
        failed
            .map(|flow| format!("{}: {:?} beside {} rounds", flow.what, flow.failures(), flow.rounds()))
            .collect()
    }
}
