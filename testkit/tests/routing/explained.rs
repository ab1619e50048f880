//! Explanations as JSON: the form that tools read.
use adit_core::explain::explain;
use adit_core::rng::Rng;
use adit_core::route::RouteConfig;
use adit_testkit::sim::mesh::parse;
use serde_json::json;

const MESH: &str = r#"
workloads:
- {uid: c, name: client, namespace: ns, serviceAccount: client, workloadIps: [10.0.0.1], protocol: HBONE, services: {}}
- {uid: s, name: server, namespace: ns, serviceAccount: server, workloadIps: [10.0.0.2], protocol: HBONE,
   services: {ns/web: {}}}
services:
- {name: web, namespace: ns, hostname: web, vips: [/10.1.0.1], ports: {80: 8080}}
policies:
- {name: nobody, namespace: ns, scope: Namespace, action: Deny, rules: [[[{destinationPorts: [8080]}]]], dryRun: false}
"#;

#[test]
fn an_explanation_as_json() {
    let mesh = parse(MESH);
    let client = mesh.workload_by_name("ns", "client", "client").expect("the client");
    let told = |target: &str| {
        let target = target.parse().expect("an address");
        let told = explain(&mesh, &RouteConfig::default(), client, client.addresses[0], target, &Rng::new(1));
        serde_json::to_value(told).expect("JSON")
    };
    let expected = json!({
        "source": "c",
        "sourceIdentity": "spiffe://cluster.local/ns/ns/sa/client",
        "client": "10.0.0.1",
        "target": "10.1.0.1:80",
        "service": "ns/web",
        "waypoint": null,
        "endpoints": [{
            "service": "ns/web",
            "port": 80,
            "mode": "Standard",
            "preferences": [],
            "endpoints": [{"workload": "s", "port": 8080, "weight": 1, "rank": 0, "standing": "eligible"}]
        }],
        "reasons": [
            "the target is service ns/web",
            "endpoint s drawn from 1 eligible of 1",
            "port 80 maps to 8080",
            "it speaks HBONE"
        ],
        "outcome": {"sent": {
            "protocol": "HBONE",
            "dial": "10.0.0.2:15008",
            "resolve": null,
            "peer": "s",
            "authority": "10.0.0.2:8080",
            "expected": ["spiffe://cluster.local/ns/ns/sa/server"],
            "innerExpected": null,
            "poolKey": {
                "source": "spiffe://cluster.local/ns/ns/sa/client",
                "sourceIp": "10.0.0.1",
                "destination": "10.0.0.2:15008",
                "expected": ["spiffe://cluster.local/ns/ns/sa/server"]
            },
            "arrival": {"judged": {
                "destination": "10.0.0.2:8080",
                "application": "10.0.0.2:8080",
                "shownSource": "the client's address 10.0.0.1",
                "reasons": ["the target is the address connected to"],
                "policies": [{
                    "name": "ns/nobody", "action": "Deny", "scope": "Namespace", "dryRun": false, "matched": 0
                }],
                "allowed": false,
                "because": "explicitly denied by: ns/nobody",
                "dryRun": []
            }}
        }}
    });
    assert_eq!(told("10.1.0.1:80"), expected);
    assert_eq!(told("10.1.0.1:81")["outcome"], json!({"refused": "no healthy upstream: 10.1.0.1:81"}));
}
