//! Readers that do not read.
use std::io::Read;
use std::time::Duration;

use adit_testkit::netns::peer::Script;
use adit_testkit::netns::{Backend, HarnessError, Host, Pattern, Result, Runtime, open, wait_until};

use super::Rig;
use crate::cluster::SOON;
use crate::traffic::{LONG, Manner};

const PLAN: [(&str, &[&str]); 2] = [("alpha", &["a1"]), ("beta", &["b1"])];

/// One shard, and so one tunnel for the one pair of pods; and the tunnel's window is no wider than that of each stream, so that one
/// stream could hold all of it.
const VARS: [(&str, &str); 3] = [
    ("ZTUNNEL_WORKER_THREADS", "1"),
    ("HTTP2_STREAM_WINDOW_SIZE", "4194304"),
    ("HTTP2_CONNECTION_WINDOW_SIZE", "4194304"),
];

/// Streams of one tunnel, the stalled one among them.
const STREAMS: usize = 100;

/// What the stalled stream could move if its reader read: more than its window (4 MiB) and all buffers on the way.
const STALLED: u64 = 12 << 20;

/// The most that the kernel takes from a socket in the pods, or for it: it would take megabytes otherwise, at each of four.
const BUFFERS: &str = "4096 65536 262144";

/// Each neighbour moves so much, both ways, while it is stalled.
const MOVED: u64 = 16;

/// No proxy holds more for a stalled stream than its window and what is on the way, in KiB.
const MOST_KIB: u64 = 12 << 10;

/// One of a tunnel's hundred streams has a reader that does not read. What its sender may send comes to an end; every octet of
/// the ninety-nine others gets there and back meanwhile; and when the reader reads, nothing of its own is missing.
pub(crate) fn one_stalled_stream(runtime: Runtime, backend: Backend) -> Result<()> {
    let mut rig = Rig::new(runtime, backend, &PLAN, &VARS)?;
    let (near, far) = (rig.site.pod("a1"), rig.site.pod("b1"));
    for pod in [near, far] {
        for which in ["rmem", "wmem"] {
            let path = format!("/proc/sys/net/ipv4/tcp_{which}");
            let written = pod.host.namespace().enter(|| std::fs::write(&path, BUFFERS))?;
            written.map_err(HarnessError::io(path))?;
        }
    }
    let neighbour = Manner { octets: 4 << 10, pause: Duration::from_millis(1), ..LONG };
    let neighbours: Vec<_> =
        (1..STREAMS).map(|_| rig.traffic.flow(neighbour, &near.host, far.at(false))).collect();
    rig.traffic.wait_more(&neighbours, 1)?;
    let before = rig.site.peaks()?;

    let script = Script::Bulk { up: 0, down: STALLED, seed: 9 };
    let mut stalled = open(&near.host, far.at(false), script)?;
    let mut here = [0];
    stalled.read_exact(&mut here).map_err(HarnessError::io("hearing that the server is there"))?;
    assert_eq!(tunnels(&near.host)?, 1);
    let waits = || unsent(&far.host).is_ok_and(|octets| octets > 0);
    wait_until("the sender to be held up", SOON, waits, String::new)?;
    rig.traffic.wait_more(&neighbours, MOVED)?;
    assert!(waits(), "nothing was stalled");
    assert_eq!(tunnels(&near.host)?, 1);
    for (machine, before) in rig.site.machines.iter().zip(before) {
        let now = machine.node.process().memory()?.resident;
        println!("{runtime}: {before} KiB before, {now} KiB with a stalled stream");
        assert!(now <= before + MOST_KIB, "{now} KiB after {before}");
    }

    let (mut octets, mut pattern, mut heard) = (vec![0; 64 << 10], Pattern::new(10), 0);
    while heard < STALLED {
        let most = octets.len().min(usize::try_from(STALLED - heard).unwrap_or(usize::MAX));
        let count = stalled.read(&mut octets[..most]).map_err(HarnessError::io("reading at last"))?;
        assert!(count > 0, "ended after {heard} octets");
        assert!(pattern.matches(&octets[..count]), "a wrong octet after {heard}");
        heard += count as u64;
    }
    let mut end = String::new();
    stalled.read_to_string(&mut end).map_err(HarnessError::io("reading the end"))?;
    assert_eq!(end, "K", "the server says that all was well");
    drop(stalled);
    rig.traffic.wait_more(&neighbours, 1)?;
    rig.end(&[])
}

/// Tunnels that a pod has to elsewhere.
fn tunnels(from: &Host) -> Result<usize> {
    let found = from.namespace().run("ss -Htn state established dport = :15008")?;
    Ok(found.lines().count())
}

/// Octets that the application has sent and its proxy has not taken.
fn unsent(at: &Host) -> Result<u64> {
    let found = at.namespace().run("ss -Htn state established sport = :8080")?;
    let queues = found.lines().filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    Ok(queues.max().unwrap_or(0))
}
