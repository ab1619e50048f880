//! A long, busy life of two nodes: connections, pods, certificates, policies and workloads come and go, and neither memory nor
//! descriptors grow.
//!
//! Needs root and `cargo build -p adit-node` before (of the same profile). `ADIT_SOAK_SECONDS` says how long (120), and
//! `ADIT_SOAK_RUNTIME` on which runtime (`tokio` or `smol`; a short one is for `.ci/run`, half an hour on each is for hand).
//! Its table is printed with `--nocapture`.

#[path = "soak/churn.rs"]
mod churn;
#[expect(dead_code, reason = "shared with the suite `netns`")]
#[path = "netns/cluster.rs"]
mod cluster;
#[expect(dead_code, reason = "shared with the suite `netns`")]
#[path = "netns/resources.rs"]
mod resources;
#[path = "soak/samples.rs"]
mod samples;
#[expect(dead_code, reason = "shared with the suite `netns`")]
#[path = "netns/site.rs"]
mod site;
#[expect(dead_code, reason = "shared with the suite `netns`")]
#[path = "netns/traffic.rs"]
mod traffic;
#[expect(dead_code, reason = "shared with the suite `netns`")]
#[path = "netns/world.rs"]
mod world;

use std::time::{Duration, Instant};

use adit_testkit::istiod::ca::Behaviour;
use adit_testkit::netns::{Backend, Result, Runtime};

use crate::churn::{Guests, Pushes};
use crate::cluster::Cluster;
use crate::resources::{service, vip};
use crate::samples::Samples;
use crate::site::Site;
use crate::traffic::{CALLS, LONG, Manner, Traffic};
use crate::world::{APP, FAMILIES, SERVICE};

/// Certificates live so long and are renewed at half of it.
const LIFE: Duration = Duration::from_secs(20);

/// Between rounds: the machine has others to serve, and half an hour is long.
const PAUSE: Duration = Duration::from_millis(40);

/// Connections that are silent most of the time.
const IDLE: usize = 50;

/// Connections that last as long as the test.
const LASTING: Manner = Manner { pause: PAUSE, ..LONG };

/// A connection after the other.
const CALLING: Manner = Manner { pause: PAUSE, ..CALLS };

/// The manner of the silent ones: a word, ten seconds of nothing, a word, and the next one after as long.
const NOW_AND_THEN: Manner =
    Manner { octets: 100, pause: Duration::from_secs(10), rounds: 2, again: true, ..LONG };

/// What the log has beyond warnings is kept by the test, and the test is not the subject. Metrics of those who are gone are kept
/// for an hour where nothing else is said.
const VARS: [(&str, &str); 2] = [("RUST_LOG", "warn"), ("ADIT_METRICS_IDLE", "10s")];

#[test]
fn a_long_life_leaves_nothing() -> Result<()> {
    let setting = |name: &str| std::env::var(name).ok();
    let seconds = setting("ADIT_SOAK_SECONDS").map_or(120, |text| text.parse().expect("a number of seconds"));
    let runtime = match setting("ADIT_SOAK_RUNTIME").as_deref() {
        None | Some("tokio") => Runtime::Tokio,
        Some("smol") => Runtime::Smol,
        Some(other) => panic!("ADIT_SOAK_RUNTIME is tokio or smol, not {other}"),
    };
    soak(runtime, Duration::from_secs(seconds))
}

fn soak(runtime: Runtime, length: Duration) -> Result<()> {
    let plan: [(&str, &[&str]); 2] = [("alpha", &["a1", "a2"]), ("beta", &["b1"])];
    let cluster = Cluster::new(runtime, Backend::Nftables)?;
    cluster.ca.behave_otherwise(Behaviour::Short(LIFE));
    let mut site = Site::of(cluster, &plan, &VARS)?;
    let guests = Guests::hosts(&mut site)?;
    site.cluster.push(
        [resources::server("b1", &site.pod("b1").host)].map(|workload| site::on("beta", workload)),
        [service("server", 1, (SERVICE, APP))],
        [],
    );
    let rests = site.rest()?;

    let mut traffic = Traffic::new(site.cluster.tasks.handle().clone());
    for (from, to) in site.pairs() {
        for (ipv6, manner) in FAMILIES.into_iter().zip([LASTING, CALLING]) {
            traffic.flow(manner, &from.host, to.at(ipv6));
        }
    }
    let (caller, far) = (site.pod("a1"), site.pod("b1"));
    for ipv6 in FAMILIES {
        traffic.flow(CALLING, &caller.host, (vip(1, ipv6), SERVICE).into());
    }
    for (number, ipv6) in (0..IDLE).zip(FAMILIES.into_iter().cycle()) {
        let (from, to) = if number % 4 < 2 { (caller, far) } else { (far, caller) };
        // So that about as many are open at any time.
        let after = NOW_AND_THEN.pause.mul_f64(2.0 * number as f64 / IDLE as f64);
        traffic.flow(Manner { after, ..NOW_AND_THEN }, &from.host, to.at(ipv6));
    }

    let end = Instant::now() + length;
    let mut samples = Samples::new(&site.machines);
    let (served, pushed) = std::thread::scope(|scope| -> Result<_> {
        let site = &site;
        let serving = scope.spawn(move || guests.come_and_go(site, end));
        let pushing = scope.spawn(move || Pushes::run(&site.cluster.istiod.ads, end));
        let sampled = samples.take_until(end, || traffic.rounds());
        let served = serving.join().expect("no panic")?;
        let pushed = pushing.join().expect("no panic");
        sampled.map(|()| (served, pushed))
    })?;
    println!(
        "{runtime}, {} s: {} rounds on {} connections, {served} pods, {pushed} pushes, {} certificates",
        length.as_secs(),
        traffic.rounds(),
        traffic.connections(),
        site.cluster.ca.seen().len(),
    );
    let failed = traffic.finish();
    samples.print();
    assert!(failed.is_empty(), "{failed:#?}");
    samples.check();
    site.check_rest(&rests, samples::MOST_KIB)?;
    for machine in &site.machines {
        let complaints = machine.node.complaints();
        assert!(complaints.is_empty(), "{complaints:#?}");
    }
    Ok(())
}
