//! `demo --once`: a scripted tour in which every step is verified, from both ends and from what the proxies show.
use std::fmt::Display;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use adit_core::proxy::Observed;
use adit_core::proxy::observed::{Connection, Direction, Flag};
use adit_ops::counters::Octets;

use super::DemoError;
use super::story::{Event, tell};
use super::world::{HTTP, POLICY, RAW, VIP, Who, World, identity};
use crate::config::Runtime;
use adit_process::screen::{Screen, watch_the_clock};

/// The whole tour takes no longer than this, whatever happens.
const LIMIT: Duration = Duration::from_secs(30);
/// How long a single expectation may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Calls made at the same time in step "many calls".
const MANY: usize = 20;
/// Octets sent and compared in step "a transfer".
const BULK: usize = 8 << 20;

/// What a step found: a detail worth telling, or why it failed.
type Found = Result<String, String>;

/// A step: what is claimed, and how it is checked.
type Step = (&'static str, fn(&mut Tour<'_>) -> Found);

const STEPS: &[Step] = &[
    ("a call goes through the mesh, and both ends know who the other is", call),
    ("many calls at once share one tunnel", many_calls),
    ("a transfer arrives whole, both ways, with a half-close in between", transfer),
    ("SOCKS5 takes the service's own address, and refuses a name clearly", socks5),
    ("a policy refuses a call, and both ends say why", denied),
    ("an impostor with a certificate of another authority gets nowhere", impostor),
    ("octets that are no TLS are refused", garbage),
    ("draining ends both proxies, and nobody listens any more", drained),
];

/// Runs the tour.
pub(super) fn run(runtime: Runtime, screen: &mut Screen) -> Result<ExitCode, DemoError> {
    let started = Instant::now();
    watch_the_clock(LIMIT)?;
    let (events, heard) = channel();
    let world = World::start(runtime, &events)?;
    let style = screen.style();
    screen.line(&style.bold(format_args!("Adit demo, the tour: {} steps on {runtime:?}", STEPS.len())));
    screen.line("");
    let mut tour = Tour {
        world: Some(world),
        events,
        witness: Witness { heard, seen: Vec::new(), told: 0, started },
        screen,
    };
    for (number, (claim, check)) in STEPS.iter().enumerate() {
        let found = check(&mut tour);
        tour.tell_new();
        let (sign, detail) = match &found {
            Ok(detail) => (style.green("✓"), detail),
            Err(why) => (style.red("✗"), why),
        };
        tour.screen.line(&format!(
            "{sign} {} {}",
            style.bold(format_args!("{}.", number + 1)),
            style.bold(claim)
        ));
        tour.screen.line(&format!("     {detail}"));
        tour.screen.line("");
        if found.is_err() {
            return Ok(ExitCode::FAILURE);
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    screen.line(&style.green(format_args!("all {} steps were seen to work, in {seconds:.1} s", STEPS.len())));
    Ok(ExitCode::SUCCESS)
}

struct Tour<'a> {
    /// `None` once it has been drained.
    world: Option<World>,
    events: Sender<Event>,
    witness: Witness,
    screen: &'a mut Screen,
}

/// Hears what the proxies show, and remembers it.
struct Witness {
    heard: Receiver<Event>,
    seen: Vec<Event>,
    /// How many of `seen` are on the screen already.
    told: usize,
    started: Instant,
}

impl Witness {
    /// The first event from number `from` on that `is` recognises, waiting for it if need be.
    fn wait<T>(&mut self, from: usize, what: &str, is: impl Fn(&Event) -> Option<T>) -> Result<T, String> {
        let deadline = Instant::now() + PATIENCE;
        let mut next = from;
        loop {
            while let Some(event) = self.seen.get(next) {
                next += 1;
                if let Some(found) = is(event) {
                    return Ok(found);
                }
            }
            match self.heard.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(event) => self.seen.push(event),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return Err(format!("within {} s no proxy has shown {what}", PATIENCE.as_secs()));
                }
            }
        }
    }

    /// Waits until `number` calls have ended since event number `from`, so that none is taken for one of the next step.
    fn ended(&mut self, from: usize, number: usize) -> Result<(), String> {
        let ended = std::cell::Cell::new(0);
        self.wait(from, &format!("the end of {number} calls"), |event| {
            ended.set(ended.get() + usize::from(matches!(event.observed, Observed::ConnectionClosed { .. })));
            (ended.get() == number).then_some(())
        })
    }

    /// How many of all events so far `is` recognises.
    fn count(&mut self, is: impl Fn(&Event) -> bool) -> usize {
        self.seen.extend(self.heard.try_iter());
        self.seen.iter().filter(|event| is(event)).count()
    }
}

impl Tour<'_> {
    fn world(&self) -> Result<&World, String> {
        self.world.as_ref().ok_or_else(|| "the proxies are gone already".to_owned())
    }

    /// Where the events of the step that begins now begin.
    fn mark(&mut self) -> usize {
        self.witness.seen.extend(self.witness.heard.try_iter());
        self.witness.seen.len()
    }

    /// Shows what has happened since it was last called; of many alike events only the first few.
    fn tell_new(&mut self) {
        const SHOWN: usize = 6;
        self.witness.seen.extend(self.witness.heard.try_iter());
        let style = self.screen.style();
        let mut new: Vec<&Event> = self.witness.seen.iter().skip(self.witness.told).collect();
        // Two proxies report on two threads.
        new.sort_by_key(|event| event.at);
        for event in new.iter().take(SHOWN) {
            self.screen.line(&tell(event, event.at.duration_since(self.witness.started), style));
        }
        if new.len() > SHOWN {
            self.screen.line(&style.dim(format_args!("           … and {} more", new.len() - SHOWN)));
        }
        self.witness.told = self.witness.seen.len();
    }

    /// Why echo's proxy refused a tunnel, since event number `from`: the one from `source`, or any.
    fn refused(&mut self, from: usize, source: Option<SocketAddr>) -> Result<String, String> {
        self.witness.wait(from, "the refusal", |event| match &event.observed {
            Observed::EarlyDenied { error, source: peer, .. }
                if event.who == Who::Echo && (source.is_none() || *peer == source) =>
            {
                Some(error.clone())
            }
            _ => None,
        })
    }

    /// The end of a call as `who` shows it.
    fn closed(&mut self, from: usize, who: Who) -> Result<Closed, String> {
        self.witness.wait(from, &format!("the end of the call at {}", who.name()), |event| {
            match &event.observed {
                Observed::ConnectionClosed {
                    connection, error, flag, bytes_sent, bytes_received, ..
                } if event.who == who => Some(Closed {
                    connection: Connection::clone(connection),
                    error: error.clone(),
                    flag: *flag,
                    octets: bytes_sent + bytes_received,
                }),
                _ => None,
            }
        })
    }
}

struct Closed {
    connection: Connection,
    error: Option<String>,
    flag: Flag,
    octets: u64,
}

/// Describes a failure of one of our own sockets.
fn because(what: &'static str) -> impl Fn(io::Error) -> String {
    move |error| format!("{what}: {error}")
}

fn ensure(holds: bool, otherwise: impl Display) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.to_string()) }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// The whole answer to a GET for `path`; empty when the connection ends without one.
fn get(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: echo\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn call(tour: &mut Tour<'_>) -> Found {
    let from = tour.mark();
    let entry = tour.world()?.entry().map_err(because("entry"))?;
    let answer = get(entry, "/first").map_err(because("calling"))?;
    ensure(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains("GET /first"),
        format_args!("answered {answer:?}"),
    )?;
    let (web, echo) = (identity("web"), identity("echo"));
    let inbound = tour.closed(from, Who::Echo)?;
    ensure(inbound.error.is_none(), format_args!("echo's side failed: {:?}", inbound.error))?;
    let caller = inbound.connection.source.identity.clone();
    ensure(caller == web, format_args!("echo took its caller for {caller:?}"))?;
    let outbound = tour.closed(from, Who::Web)?;
    ensure(outbound.error.is_none(), format_args!("web's side failed: {:?}", outbound.error))?;
    let callee = outbound.connection.destination.identity.clone();
    ensure(callee == echo, format_args!("web took its callee for {callee:?}"))?;
    let authority = outbound.connection.hbone_authority.map(|a| a.to_string()).unwrap_or_default();
    let name = |identity: Option<_>| {
        identity.map(|i: adit_core::identity::Identity| i.to_string()).unwrap_or_default()
    };
    Ok(format!("{} called {} at {VIP}:{HTTP}, which became a stream to {authority}", name(web), name(echo)))
}

fn many_calls(tour: &mut Tour<'_>) -> Found {
    let from = tour.mark();
    let entry = tour.world()?.entry().map_err(because("entry"))?;
    let calls: Vec<_> =
        (0..MANY).map(|n| std::thread::spawn(move || (n, get(entry, &format!("/many/{n}"))))).collect();
    for call in calls {
        let (n, answer) = call.join().map_err(|_| "a caller's thread panicked".to_owned())?;
        let answer = answer.map_err(because("calling"))?;
        ensure(
            answer.contains(&format!("GET /many/{n} ")),
            format_args!("call {n} got another's answer: {answer:?}"),
        )?;
    }
    let tunnels = tour.witness.count(|event| {
        matches!(event.observed, Observed::TunnelOpened { direction: Direction::Outbound, .. })
    });
    ensure(tunnels == 1, format_args!("{tunnels} tunnels were opened"))?;
    // Each ends twice: here and there.
    tour.witness.ended(from, 2 * MANY)?;
    Ok(format!("{MANY} calls at the same time, each with its own answer, over 1 tunnel"))
}

/// Octets that repeat only after a long while, so that a lost or swapped block shows.
fn pattern(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut octets = Vec::with_capacity(length + 8);
    while octets.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        octets.extend_from_slice(&(state >> 8).to_le_bytes()[..7]);
    }
    octets.truncate(length);
    octets
}

/// Connects through `web`'s SOCKS5 port; returns the stream and the reply code.
fn through_socks5(proxy: SocketAddr, target: &[u8]) -> io::Result<(TcpStream, u8)> {
    let mut stream = connect(proxy)?;
    stream.write_all(&[5, 1, 0])?;
    let mut method = [0; 2];
    stream.read_exact(&mut method)?;
    stream.write_all(&[&[5, 1, 0], target].concat())?;
    let mut reply = [0; 10];
    stream.read_exact(&mut reply)?;
    Ok((stream, reply[1]))
}

fn by_address(port: u16) -> Vec<u8> {
    [&[1][..], &VIP.octets(), &port.to_be_bytes()].concat()
}

fn transfer(tour: &mut Tour<'_>) -> Found {
    let from = tour.mark();
    let proxy = tour.world()?.socks5().map_err(because("SOCKS5"))?;
    let (mut stream, _) = through_socks5(proxy, &by_address(RAW)).map_err(because("connecting"))?;
    let sent = pattern(BULK);
    let began = Instant::now();
    let mut writer = stream.try_clone().map_err(because("cloning the socket"))?;
    let writing = {
        let octets = sent.clone();
        // Half-closing after the last octet is what tells echo to end its half as well.
        std::thread::spawn(move || writer.write_all(&octets).and_then(|()| writer.shutdown(Shutdown::Write)))
    };
    let mut received = Vec::with_capacity(BULK);
    stream.read_to_end(&mut received).map_err(because("reading"))?;
    let took = began.elapsed();
    writing.join().map_err(|_| "the writer's thread panicked".to_owned())?.map_err(because("writing"))?;
    let differs = sent.iter().zip(&received).position(|(a, b)| a != b);
    ensure(received.len() == sent.len(), format_args!("{} of {BULK} octets came back", received.len()))?;
    ensure(differs.is_none(), format_args!("octet {differs:?} is another"))?;
    let closed = tour.closed(from, Who::Web)?;
    tour.witness.ended(from, 2)?;
    ensure(closed.error.is_none(), format_args!("web's side failed: {:?}", closed.error))?;
    ensure(closed.octets == 2 * BULK as u64, format_args!("the proxy counted {} octets", closed.octets))?;
    Ok(format!(
        "{0} out and {0} back, every octet compared, in {1} ms",
        Octets(BULK as u64),
        took.as_millis()
    ))
}

fn socks5(tour: &mut Tour<'_>) -> Found {
    let from = tour.mark();
    let proxy = tour.world()?.socks5().map_err(because("SOCKS5"))?;
    let (mut stream, code) = through_socks5(proxy, &by_address(HTTP)).map_err(because("connecting"))?;
    ensure(code == 0, format_args!("by address it answered {code}"))?;
    let mut answer = String::new();
    stream
        .write_all(b"GET /socks HTTP/1.1\r\nhost: echo\r\n\r\n")
        .and_then(|()| stream.read_to_string(&mut answer))
        .map_err(because("calling"))?;
    ensure(answer.contains("GET /socks "), format_args!("answered {answer:?}"))?;
    drop(stream);
    tour.witness.ended(from, 2)?;
    let name = b"echo.demo.svc.cluster.local";
    let target = [&[3, name.len() as u8][..], name, &HTTP.to_be_bytes()].concat();
    let (_, code) = through_socks5(proxy, &target).map_err(because("asking by name"))?;
    ensure(code == 8, format_args!("by name it answered {code}, not 8"))?;
    let error = tour.witness.wait(from, "the refusal of a name", |event| match &event.observed {
        Observed::EarlyDenied { error, .. } if event.who == Who::Web => Some(error.clone()),
        _ => None,
    })?;
    Ok(format!("by address it works; by name: {error}"))
}

fn denied(tour: &mut Tour<'_>) -> Found {
    let from = tour.mark();
    let entry = tour.world()?.private_entry().map_err(because("entry"))?;
    // How the refusal reaches the caller, as an end or as a reset, does not matter here: no octet may.
    let answer = get(entry, "/secret").unwrap_or_default();
    ensure(answer.is_empty(), format_args!("the private port answered {answer:?}"))?;
    let inbound = tour.closed(from, Who::Echo)?;
    let why = inbound.error.unwrap_or_default();
    let by_policy = inbound.flag == Flag::Deny && why.ends_with(&format!("explicitly denied by: {POLICY}"));
    ensure(by_policy, format_args!("echo's side ended with {:?}: {why:?}", inbound.flag))?;
    let outbound = tour.closed(from, Who::Web)?.error.unwrap_or_default();
    ensure(outbound.starts_with("http status: 401"), format_args!("web's side ended with {outbound:?}"))?;
    let reached = tour.world()?.application.private_reached();
    ensure(reached == 0, "the private port was reached")?;
    Ok(format!("echo: {why}; web: {outbound}"))
}

fn impostor(tour: &mut Tour<'_>) -> Found {
    let from = tour.mark();
    let (instance, entry) =
        tour.world()?.impostor(&tour.events.clone()).map_err(|error| error.to_string())?;
    let answer = get(entry, "/impostor").unwrap_or_default();
    ensure(answer.is_empty(), format_args!("the impostor was answered {answer:?}"))?;
    let outbound = tour.closed(from, Who::Impostor)?;
    let why = outbound.error.unwrap_or_default();
    ensure(!why.is_empty(), "the impostor's call ended without an error")?;
    let tunnels = tour
        .witness
        .count(|event| event.who == Who::Impostor && matches!(event.observed, Observed::TunnelOpened { .. }));
    ensure(tunnels == 0, "the impostor got a tunnel")?;
    instance.handles().iter().for_each(adit_runtime::Handle::terminate);
    instance.join().map_err(|error| error.to_string())?;
    // Waited for, so that it is not taken for the next step's refusal.
    let inbound = tour.refused(from, None)?;
    Ok(format!("its own proxy: {why}; echo's: {inbound}"))
}

fn garbage(tour: &mut Tour<'_>) -> Found {
    let from = tour.mark();
    let hbone = tour.world()?.echo.addresses().hbone;
    let mut stream = connect(hbone).map_err(because("connecting"))?;
    let ours = stream.local_addr().map_err(because("asking for our address"))?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: echo\r\n\r\n").map_err(because("writing"))?;
    let mut answer = Vec::new();
    // An alert may come back, then the end or a reset.
    let _ = stream.read_to_end(&mut answer);
    ensure(!answer.starts_with(b"HTTP"), "plain HTTP was answered")?;
    tour.refused(from, Some(ours))
}

fn drained(tour: &mut Tour<'_>) -> Found {
    let world = tour.world.take().ok_or("the proxies are gone already")?;
    let entry = world.entry().map_err(because("entry"))?;
    let hbone = world.echo.addresses().hbone;
    let totals = world.totals();
    let began = Instant::now();
    world.handles().iter().for_each(adit_runtime::Handle::drain);
    world.join().map_err(|error| error.to_string())?;
    for address in [entry, hbone] {
        ensure(connect(address).is_err(), format_args!("{address} still listens"))?;
    }
    let (web, echo) = (totals.web.outbound, totals.echo.inbound);
    ensure(web.opened > 0 && echo.opened > 0, "nothing was counted")?;
    Ok(format!("in {} ms. web: {web}. echo: {echo}", began.elapsed().as_millis()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_has_no_short_period() {
        let octets = pattern(1 << 16);
        assert_eq!(octets.len(), 1 << 16);
        for period in [1, 2, 255, 256, 4096, 16_384] {
            assert!(octets.iter().zip(&octets[period..]).any(|(a, b)| a != b), "period {period}");
        }
    }
}
