//! The capabilities that the chart gives are enough, and none of them is too much: a proxy as a process with just these.
use std::time::Duration;

use adit_testkit::netns::{Namespace, Process, Scratch, binary, require_root};
use rustix::process::Signal;
use serde_json::json;

use crate::with;

const MESH: &str = "
workloads:
  - {uid: web, name: web-1, namespace: shop, serviceAccount: web, trustDomain: cluster.local, workloadIps: [10.0.0.1],
     protocol: HBONE, node: n, network: '', services: {}}
services: []
policies: []
";

/// Whether a proxy that must mark its sockets and make them transparent starts in another network namespace, as root with only
/// these capabilities.
fn starts(capabilities: &[String], namespace: &Namespace, scratch: &Scratch) -> bool {
    let mesh = scratch.write("mesh.yaml", MESH).expect("a file");
    let program = binary("adit-node", "adit-node").expect("cargo build -p adit-node");
    let bounding: String = capabilities.iter().map(|name| format!(",+{}", name.to_lowercase())).collect();
    let words = [
        "setpriv".to_owned(),
        format!("--bounding-set=-all{bounding}"),
        "--inh-caps=-all".to_owned(),
        // What it enters the pods' namespaces by is asked for as the chart's user.
        "nsenter".to_owned(),
        format!("--net=/run/netns/{}", namespace.name()),
        program.display().to_string(),
        "proxy".to_owned(),
        "ztunnel".to_owned(),
    ];
    let variables = [
        ("PROXY_MODE", "dedicated"),
        ("PROXY_WORKLOAD_INFO", "shop/web-1/web"),
        ("PACKET_MARK", "1337"),
        ("ENABLE_ORIG_SRC", "true"),
        ("FAKE_CA", "true"),
        ("ISTIO_META_DNS_CAPTURE", "false"),
        ("LOCAL_XDS_PATH", mesh.to_str().expect("UTF-8")),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut process =
        Process::spawn("a proxy with few privileges", None, &words, &variables).expect("setpriv");
    let told = process.wait_line("listening, or why not", Duration::from_secs(20), |line| {
        let failed = line.contains("Operation not permitted");
        (failed || line.contains("\tlistening\t")).then_some(!failed)
    });
    let started = told.expect("one of them");
    if started {
        process.signal(Signal::TERM).expect("it lives");
    }
    let ended = process.wait_exit(Duration::from_secs(10)).expect("it ends");
    assert_eq!(ended.success(), started);
    started
}

#[test]
fn capabilities_are_enough_and_none_is_too_much() {
    require_root().expect("root");
    let objects = with(&json!({})).expect("the defaults render");
    let added = &objects.container()["securityContext"]["capabilities"]["add"];
    let all: Vec<String> = serde_json::from_value(added.clone()).expect("names");
    let (namespace, scratch) =
        (Namespace::new("few").expect("a namespace"), Scratch::new().expect("a folder"));
    assert!(starts(&all, &namespace, &scratch), "{all:?} are too few");
    for left_out in &all {
        let fewer: Vec<String> = all.iter().filter(|name| *name != left_out).cloned().collect();
        assert!(!starts(&fewer, &namespace, &scratch), "{left_out} is not needed");
    }
}
