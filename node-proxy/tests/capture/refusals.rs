//! What is not touched, and failures that leave nothing behind.
use std::path::Path;

use adit_node::capture::{CaptureError, Choice, apply, remove, verify};
use adit_testkit::netns::{Namespace, Result};

use crate::world::{BACKENDS, netns, request};

#[test]
fn rules_of_a_sidecar_and_of_a_node_are_left_alone() -> Result<()> {
    let sidecar = Namespace::new("sidecar")?;
    for line in [
        "iptables -t nat -N ISTIO_INBOUND",
        "iptables -t nat -N ISTIO_OUTPUT",
        "iptables -t nat -A OUTPUT -p tcp -j ISTIO_OUTPUT",
    ] {
        sidecar.run(line)?;
    }
    let node = Namespace::new("node")?;
    for line in [
        "nft add table inet istio-ambient-nat",
        "nft add set inet istio-ambient-nat istio-inpod-probes-v4 { type ipv4_addr ; }",
    ] {
        node.run(line)?;
    }
    for backend in BACKENDS {
        for (namespace, told) in [(&sidecar, "rules of an Istio sidecar"), (&node, "more than a pod's rules")]
        {
            let before = namespace.run("nft list ruleset")?;
            let pod = netns(namespace);
            for refused in [apply(Some(&pod), &request(backend)), remove(Some(&pod))] {
                let error = refused.expect_err("refused").to_string();
                assert!(error.contains(told) && error.contains("nothing was changed"), "{error}");
            }
            assert_eq!(namespace.run("nft list ruleset")?, before);
            assert!(verify(Some(&pod), &request(backend)).is_ok(), "looking is allowed");
        }
    }
    Ok(())
}

/// A table of the wrong kind makes the kernel refuse the script, after the routes have been made.
#[test]
fn a_failure_leaves_nothing_and_says_what_failed() -> Result<()> {
    let namespace = Namespace::new("pod")?;
    namespace.run("nft add table ip nat")?;
    namespace.run("nft add chain ip nat OUTPUT { type filter hook output priority 5 ; }")?;
    let pod = netns(&namespace);
    let before = (namespace.run("nft list ruleset inet")?, namespace.ip("rule")?, namespace.ip("-6 rule")?);
    let error = apply(Some(&pod), &request(Choice::Iptables)).expect_err("no place for the rules");
    let CaptureError::Command { command, output, .. } = &error else { panic!("{error}") };
    assert!(command.starts_with("iptables-restore ") && !output.is_empty(), "{error}");
    let after = (namespace.run("nft list ruleset inet")?, namespace.ip("rule")?, namespace.ip("-6 rule")?);
    assert_eq!(before, after);
    Ok(())
}

#[test]
fn a_namespace_that_is_not_there_is_named() {
    let missing = Path::new("/run/netns/adit-no-such-namespace");
    let error = verify(Some(missing), &request(Choice::Auto)).expect_err("no namespace").to_string();
    assert!(
        error.contains("/run/netns/adit-no-such-namespace") && error.contains("/proc/PID/ns/net"),
        "{error}"
    );
    let error =
        verify(Some(Path::new("/dev/null")), &request(Choice::Auto)).expect_err("no namespace").to_string();
    assert!(error.contains("cannot enter the network namespace /dev/null"), "{error}");
}
