//! `check`, and what a running proxy does instead: captured pods are told from others by a connection.
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Output};
use std::sync::Arc;

use adit_node::capture::{Choice, apply, remove};
use adit_node::check::capture_state;
use adit_node::check::watch::{Pod, round};
use adit_ops::capture::{CaptureState, Captures, Outcome};
use adit_ops::http::{Handler, Method, Request};
use adit_ops::metrics::{Bounds, Metrics};
use adit_ops::readiness::Readiness;
use adit_testkit::netns::{Namespace, Network, Result};
use serde_json::Value;

use crate::world::{BACKENDS, World, listen, netns, request};

fn state(namespace: &Namespace) -> CaptureState {
    let file = File::open(netns(namespace)).expect("the namespace");
    block_on(capture_state(file.as_fd()))
}

/// Any executor will do.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("tokio").block_on(future)
}

fn adit_node(words: &[&str], namespace: &Namespace) -> Output {
    let path = netns(namespace).display().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_adit-node")).args(words).args(["--netns", &path]).output();
    output.expect("the program")
}

/// Whoever has the probes' addresses answers at once that nobody listens: no test waits for silence.
fn refusing(world: &World) -> Result<()> {
    let namespace = world.outside.namespace();
    namespace.ip("address add 192.0.2.1/32 dev eth0")?;
    namespace.ip("address add 100::1/128 dev eth0 nodad")?;
    Ok(())
}

#[test]
fn probes_tell_whether_capture_works() -> Result<()> {
    for backend in BACKENDS {
        let world = World::new()?;
        refusing(&world)?;
        let captured = CaptureState { ipv4: Outcome::Captured, ipv6: Outcome::Captured };
        let bypassed = |state: &CaptureState| {
            let CaptureState { ipv4, ipv6 } = state;
            [ipv4, ipv6]
                .iter()
                .all(|outcome| matches!(outcome, Outcome::NotCaptured { why } if why.contains("refused")))
        };
        let before = state(world.pod.namespace());
        assert!(bypassed(&before) && before.is_missing(), "{before}");
        apply(Some(&world.netns()), &request(backend)).expect("applied");
        assert_eq!(state(world.pod.namespace()), captured);
        remove(Some(&world.netns())).expect("removed");
        assert!(bypassed(&state(world.pod.namespace())));
    }
    Ok(())
}

/// Also where a proxy listens and has connections, if not this one.
#[test]
fn whoever_else_answers_is_not_taken_for_the_proxy() -> Result<()> {
    let world = World::new()?;
    refusing(&world)?;
    listen(&world.outside, 9)?;
    let state = state(world.pod.namespace());
    let stranger = |outcome: &Outcome| matches!(outcome, Outcome::NotCaptured { why } if why.contains("other than the proxy"));
    assert!(stranger(&state.ipv4) && stranger(&state.ipv6), "{state}");
    Ok(())
}

#[test]
fn rules_without_a_proxy_do_not_count() -> Result<()> {
    let mut network = Network::new()?;
    let host = network.host("pod")?;
    host.namespace().ip("-6 route flush default")?;
    apply(Some(&netns(host.namespace())), &request(Choice::Auto)).expect("applied");
    let CaptureState { ipv4, ipv6 } = state(host.namespace());
    assert!(
        matches!(&ipv4, Outcome::NotCaptured { why } if why.contains("nothing listens on port 15001")),
        "{ipv4}"
    );
    assert_eq!(ipv6, Outcome::NoRoute);
    Ok(())
}

#[test]
fn a_namespace_without_a_way_out_has_nothing_to_capture() -> Result<()> {
    let namespace = Namespace::new("lonely")?;
    let state = state(&namespace);
    assert_eq!(state, CaptureState { ipv4: Outcome::NoRoute, ipv6: Outcome::NoRoute });
    let no_namespace = File::open("/dev/null").expect("a file");
    let state = block_on(capture_state(no_namespace.as_fd()));
    assert!(state.to_string().contains("the namespace cannot be entered"), "{state}");
    Ok(())
}

/// The running proxy: page, metric, readiness.
#[test]
fn a_round_of_looks_is_told_everywhere() -> Result<()> {
    let (good, bad) = (World::new()?, World::new()?);
    refusing(&bad)?;
    apply(Some(&good.netns()), &request(Choice::Auto)).expect("applied");
    let pods = || {
        let pod = |(world, name): (&World, &str)| Pod {
            uid: name.into(),
            namespace: "shop".into(),
            name: name.into(),
            netns: Arc::new(OwnedFd::from(File::open(world.netns()).expect("the namespace"))),
        };
        [(&good, "good"), (&bad, "bad")].map(pod).into()
    };
    let (captures, metrics, readiness) =
        (Captures::default(), Metrics::new("x", Bounds::default()), Readiness::new());
    let ready = || {
        let body = readiness.answer(&Request::new(Method::Get, "/healthz/ready")).body;
        String::from_utf8(body.into_bytes()).expect("text")
    };
    let look = |pods| block_on(round(pods, &captures, &metrics, &readiness));
    look(pods());
    let missing: Vec<_> = captures.pods().into_iter().map(|pod| (pod.name, pod.state.is_missing())).collect();
    assert_eq!(missing, [("bad".into(), true), ("good".into(), false)]);
    assert!(metrics.text().contains("\nadit_capture_missing_pods 1\n"));
    assert_eq!(ready(), "ready, but traffic of shop/bad is not captured\n");

    apply(Some(&bad.netns()), &request(Choice::Auto)).expect("applied");
    look(pods());
    assert!(metrics.text().contains("\nadit_capture_missing_pods 0\n"));
    assert_eq!(ready(), "ready\n");
    look(Vec::new());
    assert!(captures.pods().is_empty());
    Ok(())
}

#[test]
fn people_are_told_what_is_wrong_and_what_to_do() -> Result<()> {
    let world = World::new()?;
    refusing(&world)?;
    let namespace = world.pod.namespace();
    let check = |words: &[&str]| {
        let output = adit_node(&[&["check"], words].concat(), namespace);
        (output.status.code(), String::from_utf8(output.stdout).expect("text"))
    };
    let (code, text) = check(&[]);
    assert_eq!(code, Some(1), "{text}");
    for part in ["PROBLEM  rules", "not captured", "fix:", "capture --netns /run/netns/", "IPv6 probe"] {
        assert!(text.contains(part), "{part} missing in\n{text}");
    }

    let applied =
        adit_node(&["capture", "apply", "--backend", "nftables", "--dns-capture", "false"], namespace);
    assert_eq!(
        String::from_utf8_lossy(&applied.stdout),
        "rules and routes: applied by nftables\n",
        "{applied:?}"
    );
    let (code, text) = check(&["--json"]);
    assert_eq!(code, Some(0), "{text}");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    let findings = report["findings"].as_array().expect("findings");
    assert!(findings.iter().all(|finding| finding["verdict"] == "ok"), "{text}");
    assert!(text.contains("--dns-capture=false"), "what was meant is recognized: {text}");

    assert_eq!(adit_node(&["capture", "verify", "--dns-capture", "false"], namespace).status.code(), Some(0));
    assert_eq!(adit_node(&["capture", "verify"], namespace).status.code(), Some(1), "with DNS capture");
    namespace.run("nft flush chain inet istio-ambient-nat istio-output")?;
    let (code, text) = check(&["--no-probe"]);
    assert_eq!(code, Some(1));
    let missing = "IPv4 nat output: missing: ! -d 127.0.0.1/32 -p tcp -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001";
    assert!(text.contains(missing) && !text.contains("probe "), "{text}");
    Ok(())
}
