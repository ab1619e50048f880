//! Gateway API's conformance cases between node proxies, over both families.
use adit_testkit::conformance::{self, Answer, Ask, CONSUMER, Client, MESH, To, cases, services};
use adit_testkit::netns::{Backend, Result, Runtime};

use super::place::Place;
use super::rig;
use crate::world::FAMILIES;

/// All cases, in one mesh.
pub(crate) fn conformance(runtime: Runtime, backend: Backend) -> Result<()> {
    let place = Place::new(runtime, backend, services().collect(), &conformance::manifests(MESH, CONSUMER))?;
    let mut wrong = Vec::new();
    for ipv6 in FAMILIES {
        let ask = |asked: &Ask| -> Vec<Answer> {
            let client = match asked.from {
                Client::Mesh => "client",
                Client::Consumer => "consumer",
            };
            let to = match asked.to {
                To::Service(service, port) => place.at(service, port, ipv6),
                To::Pod(app) => place.pod_at(app, ipv6),
            };
            place.inside(client, || rig::cases::ask(to, asked)).expect("the pod is there")
        };
        let differences = cases().flat_map(|case| case.play(ask));
        wrong.extend(differences.map(|text| format!("{}: {text}", if ipv6 { "IPv6" } else { "IPv4" })));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let complaints = place.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
    Ok(())
}
