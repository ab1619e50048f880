//! A look at one namespace: rules, listeners, probes.
use std::path::Path;

use adit_ops::capture::CaptureState;

use super::probe::{PATIENCE, here};
use super::report::{Finding, Report};
use super::sockets::tcp;
use crate::capture::{CaptureError, Choice, HBONE, INBOUND, OUTBOUND, Request, State, namespace};

/// What `check` finds in the namespace `netns`, or in this one.
pub(super) fn inspect(netns: Option<&Path>, probes: bool) -> Result<Report, CaptureError> {
    let named = netns.map_or_else(String::new, |path| format!(" --netns {}", path.display()));
    namespace::within(netns, || {
        let mut findings = rules(&named);
        findings.extend(listeners());
        if probes {
            let CaptureState { ipv4, ipv6 } = here(PATIENCE);
            let fix = "put right what is wrong above; if nothing is, look for rules of others before Istio's: `nft list \
                       ruleset`, `iptables-save`";
            findings.push(Finding::of_probe("IPv4 probe", &ipv4, fix));
            findings.push(Finding::of_probe("IPv6 probe", &ipv6, fix));
        }
        Report { findings }
    })
}

/// Rules and routes; `named` are the flags that name the namespace.
fn rules(named: &str) -> Vec<Finding> {
    let state = match State::read(Choice::Auto) {
        Ok(state) => state,
        Err(error) => {
            let fix = "look from where the tools are: the node itself, or a debug container with `--netns`";
            return vec![Finding::unknown("rules", error.to_string(), fix)];
        }
    };
    let request = Request { options: state.closest_options(), ..Request::default() };
    let verdict = state.verdict(&request);
    let mut flags = format!("--dns-capture={}", request.options.dns);
    if request.options.ingress {
        flags += " --bypass-inbound-capture";
    }
    if !request.options.interfaces.is_empty() {
        let names: Vec<String> = request.options.interfaces.iter().map(ToString::to_string).collect();
        flags += &format!(" --reroute-virtual-interfaces {}", names.join(","));
    }
    let fix = format!(
        "where istio-cni is at work, restart its pod on this node, which puts the rules of enrolled pods right; else \
         `adit-node capture{named} apply {flags}`"
    );
    let Some(backend) = verdict.backend else {
        let detail = "there are none: this namespace is not captured";
        return vec![Finding::problem("rules", detail, fix)];
    };
    if verdict.problems.is_empty() {
        return vec![Finding::ok("rules", format!("all there, by {backend}, as with {flags}"))];
    }
    let problems = verdict
        .problems
        .iter()
        .map(|problem| Finding { fix: None, ..Finding::problem("rules", problem.to_string(), "") });
    let mut findings: Vec<Finding> = problems.collect();
    // Once for all.
    if let Some(last) = findings.last_mut() {
        last.fix = Some(fix);
    }
    findings
}

fn listeners() -> Vec<Finding> {
    let sockets = match tcp() {
        Ok(sockets) => sockets,
        Err(error) => {
            let fix = "mount /proc in the container that this runs in";
            return vec![Finding::unknown("listeners", error.to_string(), fix)];
        }
    };
    let ports = [OUTBOUND, INBOUND, HBONE];
    let finding = |port: u16| {
        let subject = format!("port {port}");
        if sockets.iter().any(|socket| socket.listens && socket.local.port() == port) {
            return Finding::ok(subject, "somebody listens");
        }
        let fix = "start the proxy; in shared mode, see its log for this pod, and whether `/config_dump` has the pod in \
                   `workloadState`: it learns of pods from istio-cni";
        Finding::problem(&subject, "nobody listens: what is captured is refused", fix)
    };
    ports.map(finding).into()
}
