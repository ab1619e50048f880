//! Two hundred pods on one node: what they cost, and how soon one more is served.
use std::time::{Duration, Instant};

use adit_control::proto::istio::workload::Workload;
use adit_testkit::netns::{Backend, Namespace, Result, Runtime, wait_until};

use crate::cluster::{Cluster, SOON, app, who_am_i};
use crate::resources::{captured, pod};
use crate::site::{Machine, on, pod_uid, told};
use crate::world::APP;

const PODS: usize = 200;

/// The name of the machine.
const MACHINE: &str = "machine";

/// The bar (issue 4) is 40 MiB, for an optimised build on an otherwise quiet machine.
const RESIDENT_KIB: u64 = if cfg!(debug_assertions) { 80 << 10 } else { 40 << 10 };

/// The bar is 200 ms; here the machine may be busy with other tests.
const FIRST_BYTE: Duration = Duration::from_secs(2);

/// A pod that nobody calls, with an identity of its own.
fn idle(name: &str, number: usize) -> Workload {
    let [_, _, high, low] = u32::try_from(number).expect("few").to_be_bytes();
    captured(name, vec![vec![10, 99, high, low]])
}

pub(crate) fn two_hundred(runtime: Runtime, backend: Backend) -> Result<()> {
    let mut cluster = Cluster::new(runtime, backend)?;
    let (client, server, host) = (cluster.pod("client")?, cluster.pod("server")?, cluster.host(MACHINE)?);
    let names: Vec<_> = (0..PODS).map(|number| format!("idle-{number}")).collect();
    let namespaces: Vec<_> = names.iter().map(|_| Namespace::new("idle")).collect::<Result<_>>()?;
    let workloads = names.iter().enumerate().map(|(number, name)| idle(name, number));
    let workloads = workloads.chain([pod("client", &client), pod("server", &server), pod(MACHINE, &host)]);
    cluster.push(workloads.map(|workload| on(MACHINE, workload)), [], []);
    let pods = names.iter().zip(&namespaces).map(|(name, namespace)| told(name, namespace));
    let pods: Vec<_> = pods.chain([told("server", server.namespace())]).collect::<Result<_>>()?;
    let begun = Instant::now();
    let machine = Machine::start(&cluster, MACHINE, host, pods, &[])?;
    let (node, agent) = (&machine.node, machine.agent());
    println!("{runtime}: {PODS} pods are served {:?} after the start", begun.elapsed());
    let issued = || node.process().lines().iter().filter(|line| line.contains("certificate issued")).count();
    wait_until("all certificates", SOON, || issued() > PODS, || issued().to_string())?;
    let _app = app(&server)?;

    let begun = Instant::now();
    machine.add("client", client.namespace())?;
    let acknowledged = begun.elapsed();
    assert!(who_am_i(&client, (server.address(false), APP))?.is_some());
    let first_byte = begun.elapsed();
    let (memory, descriptors) = (node.process().memory()?, node.process().descriptors()?);
    println!(
        "{runtime}: {} KiB resident, {descriptors} descriptors; one more: acknowledged after {acknowledged:?}, first \
         byte after {first_byte:?}",
        memory.resident
    );
    assert!(memory.resident <= RESIDENT_KIB, "{memory:?}");
    assert!(first_byte <= FIRST_BYTE, "{first_byte:?}");

    // All of them go, in one snapshot of an agent that knows but the server.
    for name in &names {
        agent.forget(&pod_uid(name));
    }
    agent.cut();
    machine.wait_descriptors(100)?;
    assert!(who_am_i(&client, (server.address(true), APP))?.is_some());
    Ok(())
}
