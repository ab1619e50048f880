//! What a visitor sees, and `demo --once`: a scripted tour in which every step is verified, from the client's side and from the
//! applications'.
use std::fmt::Display;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_ops::l7::metrics::Reported;
use adit_process::screen::{Screen, Style, watch_the_clock};

use super::DemoError;
use super::token::Issuer;
use super::world::{Plan, World};
use crate::observe::{Recorder, Recorders, Told};
use crate::settings::Settings;

/// The whole tour takes no longer than this, whatever happens.
const LIMIT: Duration = Duration::from_secs(60);
/// How long a single answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Requests that the canary is judged by.
const MANY: usize = 400;
/// The manifests.
const MANIFESTS: &str = include_str!("manifests/routes.yaml");

/// What a step found: a detail worth telling, or why it failed.
type Found = Result<String, String>;

/// A step: what is claimed, and how it is checked.
type Step = (&'static str, fn(&Tour) -> Found);

const STEPS: &[Step] = &[
    ("a request goes through the waypoint, and the application is told by whom", call),
    ("a canary gets about one request of ten", canary),
    ("testers are told from others by a header (A/B)", testers),
    ("orders are mirrored, and nobody waits for the copy", mirrored),
    ("what fails at first is asked again", retried),
    ("a path is denied by policy", denied),
    ("a token of nobody's is rejected, and one of the issuer's is taken", tokens),
];

struct Tour {
    world: World,
    issuer: Issuer,
}

fn world(recorders: Recorders) -> Result<Tour, DemoError> {
    let issuer = Issuer::new().map_err(io::Error::other)?;
    let plan = Plan {
        clients: vec!["web"],
        apps: vec![
            ("reviews-v1", vec!["reviews", "reviews-v1"]),
            ("reviews-v2", vec!["reviews", "reviews-v2"]),
            ("shadow", vec!["shadow"]),
        ],
        ports: vec![80],
        threads: 1,
        ..Plan::default()
    };
    let manifests = MANIFESTS.replace("JWKS", issuer.keys());
    let world = World::start(&plan, &manifests, Settings::default(), recorders)?;
    Ok(Tour { world, issuer })
}

/// Says nothing.
struct Silent;

impl Recorder for Silent {
    fn finished(&self, _: &Told<'_>, _: Reported) {}
}

/// Shows each request on the screen.
struct Shown(Style);

impl Recorder for Shown {
    fn finished(&self, told: &Told<'_>, _: Reported) {
        let exchange = told.exchange;
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let status = exchange.http.status;
        let shown = if status < 400 { self.0.green(status) } else { self.0.red(status) };
        let who = exchange.source.map(|peer| peer.workload.to_string()).unwrap_or_default();
        let to = exchange.destination.map_or_else(|| "nobody".to_owned(), |peer| peer.workload.to_string());
        let details = exchange.details.map(ToString::to_string).unwrap_or_default();
        let line = format!(
            "{who} ▸ {} {} ▸ {shown} from {to}  {}",
            text(exchange.http.method),
            text(exchange.http.path),
            self.0.dim(format_args!(
                "route {} · {details} · {} · {} retries",
                exchange.route, exchange.flags, exchange.upstream.retries
            )),
        );
        // A closed pipe is no reason to stop.
        let _ = writeln!(io::stdout(), "{line}");
    }
}

/// Shows what visitors do until the demo is interrupted.
pub(super) fn visit(screen: &mut Screen) -> Result<ExitCode, DemoError> {
    let style = screen.style();
    let tour = world(Arc::new(move || Rc::new(Shown(style))))?;
    let Some(entry) = tour.world.entry("web", "reviews", 80) else {
        return Err(io::Error::other("the entry does not listen").into());
    };
    let token = tour.issuer.token("web-user").map_err(io::Error::other)?;
    screen
        .line(&style.bold("Adit's waypoint: a client, two versions of a service and a shadow, on loopback."));
    screen.line("");
    screen.line(
        "   curl ──▶ web's proxy ══ HBONE ══▶ waypoint ══ HBONE ══▶ reviews-v1 | reviews-v2 (| shadow)",
    );
    screen.line("");
    screen.line("In another terminal:");
    for (arguments, meaning) in [
        (format!("http://{entry}/"), "v1, or one time of ten v2"),
        (format!("-H 'x-group: testers' http://{entry}/"), "v2"),
        (format!("-d order http://{entry}/orders"), "v1, and a copy to the shadow"),
        (format!("-H 'x-app-fail-first: 1' http://{entry}/flaky"), "fails once, is asked again"),
        (format!("http://{entry}/admin/users"), "denied by policy"),
        (format!("-H 'authorization: Bearer a.b.c' http://{entry}/"), "rejected: no token of the issuer's"),
        (format!("-H 'authorization: Bearer {token}' http://{entry}/"), "taken"),
    ] {
        screen.line(&format!("   {}  {meaning}", style.cyan(format_args!("curl {arguments}"))));
    }
    screen.line("");
    screen.line(&style.dim("Ctrl-C ends. What happens:"));
    let mut signals =
        signal_hook::iterator::Signals::new([signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM])?;
    signals.forever().next();
    tour.world.drain_waypoint().map_err(io::Error::other)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the tour.
pub(super) fn run(screen: &mut Screen) -> Result<ExitCode, DemoError> {
    let started = Instant::now();
    watch_the_clock(LIMIT)?;
    let tour = world(Arc::new(|| Rc::new(Silent)))?;
    let style = screen.style();
    screen.line(&style.bold(format_args!("Adit's waypoint, the tour: {} steps", STEPS.len())));
    screen.line("");
    let mut number = 0;
    let mut step = |screen: &mut Screen, claim: &str, found: Found| {
        number += 1;
        let (sign, detail, well) = match found {
            Ok(detail) => (style.green("✓"), detail, true),
            Err(why) => (style.red("✗"), why, false),
        };
        screen.line(&format!("{sign} {} {}", style.bold(format_args!("{number}.")), style.bold(claim)));
        screen.line(&format!("     {detail}"));
        well
    };
    for (claim, check) in STEPS {
        if !step(screen, claim, check(&tour)) {
            return Ok(ExitCode::FAILURE);
        }
    }
    if !step(screen, "the waypoint ends in good order", drained(tour)) {
        return Ok(ExitCode::FAILURE);
    }
    let seconds = started.elapsed().as_secs_f64();
    screen.line("");
    screen.line(&style.green(format_args!("all steps were seen to work, in {seconds:.1} s")));
    Ok(ExitCode::SUCCESS)
}

/// A client that keeps its connection.
struct Client(BufReader<TcpStream>);

/// What came back.
struct Reply {
    status: u16,
    body: String,
}

impl Reply {
    /// Which application has answered.
    fn app(&self) -> String {
        let told: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        told.get("app").and_then(serde_json::Value::as_str).unwrap_or("nobody").to_owned()
    }
}

fn text(error: impl Display) -> String {
    error.to_string()
}

impl Client {
    fn new(address: SocketAddr) -> Result<Self, String> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(text)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(text)?;
        stream.set_nodelay(true).map_err(text)?;
        Ok(Self(BufReader::new(stream)))
    }

    fn ask(&mut self, method: &str, path: &str, headers: &str, body: &str) -> Result<Reply, String> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: reviews\r\n{headers}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.0.get_mut().write_all(request.as_bytes()).map_err(text)?;
        let mut line = String::new();
        self.0.read_line(&mut line).map_err(text)?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| format!("no answer, but {line:?}"))?;
        let mut length = 0;
        loop {
            let mut header = String::new();
            if self.0.read_line(&mut header).map_err(text)? == 0 {
                return Err("the answer's head does not end".to_owned());
            }
            if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().map_err(text)?;
            }
            if header == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).map_err(text)?;
        Ok(Reply { status, body: String::from_utf8_lossy(&body).into_owned() })
    }
}

impl Tour {
    fn client(&self) -> Result<Client, String> {
        Client::new(self.world.entry("web", "reviews", 80).ok_or("the entry does not listen")?)
    }

    fn seen(&self, app: &str) -> usize {
        self.world.app(app).map_or(0, |app| app.seen().len())
    }
}

fn expect(what: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if what { Ok(()) } else { Err(otherwise()) }
}

/// Waits for something that comes by itself.
fn soon(mut is: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

fn call(tour: &Tour) -> Found {
    let reply = tour.client()?.ask("GET", "/hello?x=1", "", "")?;
    expect(reply.status == 200, || format!("status {}", reply.status))?;
    let app = reply.app();
    let seen = tour.world.app(&app).and_then(|app| app.seen().pop()).ok_or("the application saw nothing")?;
    expect(seen.target == "/hello?x=1" && seen.host == "reviews", || format!("{app} saw {seen:?}"))?;
    let id = seen.headers.get("x-request-id").ok_or("the request has no id")?;
    Ok(format!("{app} answered GET /hello?x=1, request {id}"))
}

fn canary(tour: &Tour) -> Found {
    let mut client = tour.client()?;
    let mut new = 0;
    for _ in 0..MANY {
        let reply = client.ask("GET", "/", "", "")?;
        expect(reply.status == 200, || format!("status {}", reply.status))?;
        new += usize::from(reply.app() == "reviews-v2");
    }
    // Five times the standard deviation of chance is never seen.
    expect((10..=70).contains(&new), || format!("v2 has answered {new} of {MANY}"))?;
    Ok(format!("v2 has answered {new} of {MANY}, v1 the others, on one connection"))
}

fn testers(tour: &Tour) -> Found {
    let mut client = tour.client()?;
    for _ in 0..20 {
        let reply = client.ask("GET", "/", "x-group: testers\r\n", "")?;
        expect(reply.app() == "reviews-v2", || format!("{} has answered a tester", reply.app()))?;
    }
    Ok("20 of 20 testers were answered by v2".to_owned())
}

fn mirrored(tour: &Tour) -> Found {
    let before = tour.seen("shadow");
    let reply = tour.client()?.ask("POST", "/orders/7", "x-app-delay-ms: 0\r\n", "one of each")?;
    expect(reply.app() == "reviews-v1", || format!("{} has answered", reply.app()))?;
    expect(soon(|| tour.seen("shadow") > before), || "the shadow has seen nothing".to_owned())?;
    let copy = tour.world.app("shadow").and_then(|app| app.seen().pop()).ok_or("no copy")?;
    expect(copy.target == "/orders/7" && copy.body == b"one of each", || format!("the shadow saw {copy:?}"))?;
    Ok("v1 answered POST /orders/7; the shadow has its copy, body and all".to_owned())
}

fn retried(tour: &Tour) -> Found {
    let reply = tour.client()?.ask("GET", "/flaky", "x-app-fail-first: 1\r\n", "")?;
    expect(reply.status == 200, || format!("status {}", reply.status))?;
    let attempt = |app: &str| {
        let seen = tour.world.app(app)?.seen();
        let seen = seen.iter().rev().find(|seen| seen.target == "/flaky")?;
        seen.headers.get("x-envoy-attempt-count").cloned()
    };
    let attempts = [attempt("reviews-v1"), attempt("reviews-v2")];
    expect(attempts.iter().flatten().any(|attempt| attempt == "2"), || format!("attempts {attempts:?}"))?;
    Ok(format!("the first answer was 503; {} gave the second, 200", reply.app()))
}

fn denied(tour: &Tour) -> Found {
    let before = tour.seen("reviews-v1") + tour.seen("reviews-v2");
    for path in ["/admin/users", "/x/../admin/users", "/%2e/admin"] {
        let reply = tour.client()?.ask("GET", path, "", "")?;
        expect(reply.status == 403 && reply.body == "RBAC: access denied", || {
            format!("{path}: status {}, {}", reply.status, reply.body)
        })?;
    }
    let after = tour.seen("reviews-v1") + tour.seen("reviews-v2");
    expect(before == after, || "an application has seen it".to_owned())?;
    Ok("403 RBAC: access denied, however the path is written; no application has seen it".to_owned())
}

fn tokens(tour: &Tour) -> Found {
    let ask = |token: &str| tour.client()?.ask("GET", "/", &format!("authorization: Bearer {token}\r\n"), "");
    let forged = ask(&tour.issuer.forged("mallory").map_err(text)?)?;
    expect(forged.status == 401, || format!("a forged token: status {}", forged.status))?;
    let valid = ask(&tour.issuer.token("alice").map_err(text)?)?;
    expect(valid.status == 200, || format!("a valid token: status {}, {}", valid.status, valid.body))?;
    let seen = tour.world.app(&valid.app()).and_then(|app| app.seen().pop()).ok_or("nobody saw it")?;
    expect(!seen.headers.contains_key("authorization"), || "the application got the token".to_owned())?;
    Ok(format!("401 {:?} for the forged one; alice's was taken, and kept from the application", forged.body))
}

fn drained(tour: Tour) -> Found {
    let entry = tour.world.entry("web", "reviews", 80).ok_or("the entry does not listen")?;
    let ended = tour.world.drain_waypoint().map_err(text)?;
    let refused = Client::new(entry).and_then(|mut client| client.ask("GET", "/", "", "")).is_err();
    drop(ended);
    expect(refused, || "somebody still answers".to_owned())?;
    Ok("drained; nobody answers any more".to_owned())
}
