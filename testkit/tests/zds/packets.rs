//! Packet by packet: what is answered, and what costs the connection.

use std::io::Read as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::Duration;

use adit_core::inpod::{ProtocolError, State};
use adit_testkit::cni::{AgentError, LIMIT, Packet, Pod};
use rustix::io::{FdFlags, fcntl_getfd};

use super::rig::{Clock, MOMENT, Rig, pod};

fn refused(text: &str) -> Result<(), AgentError> {
    Err(AgentError::Refused(text.into()))
}

#[test]
fn a_pod_is_started_in_its_namespace_before_the_answer() {
    let rig = Rig::new(Clock::Real);
    let connection = rig.accept();
    let pod = pod("a", "net");
    assert_eq!(connection.request(&Packet::add(&pod)), Ok(()));
    {
        let seen = rig.client.seen.lock();
        let started = seen.running.values().next().expect("started by now");
        assert_eq!((&*started.uid, started.workload.to_string()), ("a", "sa.ns (pod-a)".into()));
        let namespace = std::fs::metadata("/proc/self/ns/net").expect("our namespace");
        assert_eq!(
            (started.netns_id.device, started.netns_id.inode),
            (namespace.st_dev(), namespace.st_ino())
        );
        let flags = fcntl_getfd(&started.netns).expect("an open descriptor");
        assert!(flags.contains(FdFlags::CLOEXEC), "a child process would inherit it");
        assert!(!seen.ready, "before the snapshot");
    }
    assert_eq!(connection.request(&Packet::snapshot_sent()), Ok(()));
    rig.client.seen.wait("ready", |seen| seen.ready && seen.metrics == (1, 0, 1, 0));
    let known = rig.client.view.pods();
    assert_eq!((known.len(), &known[0].state), (1, &State::Up));
    assert!(rig.client.view.is_ready() && connection.is_idle());

    assert_eq!(connection.request(&Packet::add(&pod)), Ok(()));
    assert_eq!(rig.client.seen.lock().starts, 1, "it is known");
    assert_eq!(connection.request(&Packet::del("a")), Ok(()));
    assert_eq!(rig.client.seen.running(), Vec::<String>::new());
    rig.client.seen.wait("stopped", |seen| seen.metrics == (0, 0, 1, 1));
}

#[test]
fn a_pod_in_another_namespace_is_a_new_proxy() {
    let rig = Rig::new(Clock::Real);
    let connection = rig.accept_with(&[&pod("a", "net")]);
    assert_eq!(connection.request(&Packet::add(&pod("a", "uts"))), Ok(()));
    let seen = rig.client.seen.lock();
    assert_eq!((seen.running.len(), seen.starts, seen.stops), (1, 2, 1));
}

#[test]
fn packets_that_cannot_be_read_cost_the_connection() {
    let known = pod("a", "net");
    let other = pod("b", "uts");
    let bare = Pod { netns: None, ..other.clone() };
    let descriptor = || other.netns.as_ref().expect("a namespace").as_fd();
    let cut = "its file descriptors were cut off: too many in one packet, or this process has too many open";
    let cases = [
        (Packet::add(&bare), "0 file descriptors where 1 are expected"),
        (Packet::add(&other).with(descriptor()), "2 file descriptors where 1 are expected"),
        (Packet { descriptors: vec![descriptor(); 16], ..Packet::add(&other) }, cut),
        (Packet::del("a").with(descriptor()), "1 file descriptors where 0 are expected"),
        (Packet::keep("a").with(descriptor()), "1 file descriptors where 0 are expected"),
        (Packet::snapshot_sent().with(descriptor()), "1 file descriptors where 0 are expected"),
        (Packet::raw([0x22, 0]), "it asks for nothing known"),
        (Packet::del(""), "it names no uid"),
        (Packet::raw([b'x'; 1025]), "it is longer than 1024 octets"),
    ];
    let rig = Rig::new(Clock::Racing);
    let mut connection = rig.accept_with(&[&known]);
    for (packet, why) in cases {
        rig.client.seen.wait("ready", |seen| seen.ready);
        let answer = connection.request(&packet);
        assert_eq!(answer, refused(&format!("cannot read the request: {why}")), "{packet:?}");
        assert_eq!(connection.closed(LIMIT), Ok(()), "{packet:?}");
        rig.client.seen.wait("not ready", |seen| !seen.ready);
        connection = rig.accept_with(&[&known]);
    }
    let garbage = connection.request(&Packet::raw(*b"GET / HTTP/1.1\r\n\r\n"));
    let Err(AgentError::Refused(text)) = garbage else { panic!("{garbage:?}") };
    assert!(text.starts_with("cannot read the request: it is no WorkloadRequest: "), "{text}");
    rig.accept_with(&[&known]);
    let seen = rig.client.seen.lock();
    assert_eq!((seen.running.len(), seen.starts, seen.stops), (1, 1, 0), "proxies go on");
}

/// The read end of a pipe ends when the last copy of its write end is closed.
#[test]
fn no_descriptor_stays_open() {
    let rig = Rig::new(Clock::Racing);
    for what in ["refused", "surplus", "deleted"] {
        let connection = rig.accept_with(&[]);
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        let pod = Pod { netns: Some(Arc::new(OwnedFd::from(writer))), ..pod("a", "net") };
        let packet = Packet::add(&pod);
        match what {
            "refused" => {
                let del = Packet { descriptors: packet.descriptors.clone(), ..Packet::del("a") };
                assert!(connection.request(&del).is_err());
            }
            "surplus" => {
                let twice = packet.descriptors[0];
                assert!(connection.request(&packet.with(twice)).is_err());
            }
            _ => {
                rig.client.seen.lock().broken.insert("a");
                assert!(connection.request(&packet).is_err());
                assert_eq!(connection.request(&Packet::del("a")), Ok(()));
            }
        }
        drop(pod);
        assert_eq!(reader.read(&mut [0]).expect("a pipe"), 0, "{what}");
        connection.cut();
    }
}

#[test]
fn protocol_errors_end_the_client() {
    let pod = pod("a", "net");
    let cases = [
        (Packet::add_without_workload(&pod), ProtocolError::NoWorkload("a".into())),
        (Packet::keep("a"), ProtocolError::KeepAfterSnapshot("a".into())),
        (Packet::snapshot_sent(), ProtocolError::SecondSnapshot),
    ];
    for (packet, error) in cases {
        let mut rig = Rig::new(Clock::Real);
        let connection = rig.accept_with(&[&pod]);
        assert_eq!(connection.request(&packet), refused(&format!("protocol error: {error}")));
        assert_eq!(connection.closed(LIMIT), Ok(()));
        assert_eq!(rig.client.end(), Err(error));
        let seen = rig.client.seen.lock();
        assert_eq!((seen.running.len(), seen.ready), (1, false), "draining is the owner's matter");
    }
}

#[test]
fn a_pod_that_cannot_be_started_is_tried_until_it_can() {
    let rig = Rig::new(Clock::Racing);
    rig.client.seen.lock().broken.insert("a");
    let connection = rig.accept();
    let why = "no proxy for pod a yet: failed to bind to address [::]:15008: address in use";
    assert_eq!(connection.request(&Packet::add(&pod("a", "net"))), refused(why));
    assert_eq!(connection.request(&Packet::snapshot_sent()), Ok(()));
    rig.client.seen.wait("retries", |seen| seen.starts > 3 && seen.metrics == (0, 1, 0, 0));
    assert!(!rig.client.view.is_ready() && connection.is_idle());
    let State::Pending(error) = rig.client.view.pods().remove(0).state else { panic!("not pending") };
    assert!(error.to_string().starts_with("failed to bind"), "{error}");
    rig.client.seen.lock().broken.clear();
    rig.client.seen.wait("ready", |seen| seen.ready && seen.metrics == (1, 0, 1, 0));
}

#[test]
fn a_start_that_does_not_end_is_given_up() {
    let rig = Rig::new(Clock::Racing);
    rig.client.seen.lock().stuck.insert("a");
    let connection = rig.accept();
    let why = "no proxy for pod a yet: its listeners were not bound within 3s";
    assert_eq!(connection.request(&Packet::add(&pod("a", "net"))), refused(why));
    let seen = rig.client.seen.lock();
    assert!(seen.stops > 0, "what was half done is undone");
}

#[test]
fn an_agent_that_gives_up_waiting_decides_anew() {
    let rig = Rig::new(Clock::Real);
    rig.client.seen.lock().stuck.insert("a");
    let connection = rig.accept_with(&[]);
    let pod = pod("a", "net");
    connection.send(&Packet::add(&pod)).expect("a client that listens");
    assert_eq!(connection.ack(MOMENT), Err(AgentError::Late(MOMENT)), "no answer before the proxy runs");
    drop(connection);
    rig.client.seen.release("a");
    // The client sees the end when the start is over, comes back, and learns that there is no such pod.
    let connection = rig.accept_with(&[]);
    assert_eq!(rig.client.seen.running(), Vec::<String>::new());
    assert!(connection.is_idle());
}

#[test]
fn a_drain_takes_no_more_pods_and_leaves_the_others() {
    let mut rig = Rig::new(Clock::Real);
    let connection = rig.accept_with(&[&pod("a", "net")]);
    rig.client.drain();
    assert_eq!(connection.closed(LIMIT), Ok(()));
    assert_eq!(rig.client.end(), Ok(()));
    assert!(connection.send(&Packet::add(&pod("b", "uts"))).is_err());
    assert_eq!((rig.client.seen.running(), rig.client.seen.lock().ready), (vec!["a".to_owned()], false));
}

#[test]
fn a_drain_without_an_agent_ends_at_once() {
    let mut rig = Rig::new(Clock::Real);
    drop(rig.accept());
    rig.client.drain();
    assert_eq!(rig.client.end(), Ok(()));
}

#[test]
fn an_agent_that_hangs_up_after_the_hello_is_not_called_in_a_busy_loop() {
    let rig = Rig::new(Clock::Real);
    let begin = std::time::Instant::now();
    for _ in 0..7 {
        drop(rig.accept());
    }
    // 5 + 10 + 20 + 40 + 80 + 160 ms, each ±20 %.
    assert!(begin.elapsed() > Duration::from_millis(240), "{:?}", begin.elapsed());
}
