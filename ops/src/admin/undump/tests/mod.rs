//! Dumps of ours come back as they were; ztunnel's are understood; what is wrong is named by its path.
mod random;

use adit_core::mesh::{
    Action, Authorization, GatewayTarget, MatchList, PolicyScope, Service, StringMatch, TunnelProtocol,
};
use adit_core::proxy::LocalWorkload;
use adit_core::proxy::observed::Connection;
use adit_core::route::RouteConfig;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::admin::dump::Dump;
use crate::admin::{AdminState, CertificateStatus, ProxyState, Version};

/// A process with nothing but tables.
struct Tables(Arc<Mesh>);

impl AdminState for Tables {
    fn mesh(&self) -> Arc<Mesh> {
        Arc::clone(&self.0)
    }
    fn static_mesh(&self) -> Option<Arc<Mesh>> {
        Some(Arc::clone(&self.0))
    }
    fn certificates(&self) -> Vec<CertificateStatus> {
        Vec::new()
    }
    fn proxies(&self) -> Vec<ProxyState> {
        Vec::new()
    }
    fn connections(&self) -> Vec<Arc<Connection>> {
        Vec::new()
    }
    fn config(&self) -> Value {
        json!({"network": self.0.network()})
    }
    fn version(&self) -> Version {
        Version::default()
    }
    fn shut_down(&self) {}
}

fn dumped(mesh: &Mesh) -> Vec<u8> {
    Dump::of(&Tables(Arc::new(mesh.clone()))).collect::<Vec<_>>().concat()
}

type All = (Vec<Arc<Workload>>, Vec<Arc<Service>>, Vec<Arc<Authorization>>, String);

fn all(mesh: &Mesh) -> All {
    (
        mesh.workloads().cloned().collect(),
        mesh.services().cloned().collect(),
        mesh.policies().cloned().collect(),
        mesh.network().to_owned(),
    )
}

#[track_caller]
fn understood(text: &Value) -> Undumped {
    read(text.to_string().as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn problems(text: &Value) -> Vec<String> {
    understood(text).problems.iter().map(ToString::to_string).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    // Octet for octet, and entry for entry: two tables may have the same dump by accident.
    #[test]
    fn a_dump_comes_back_as_it_was(seed in any::<u64>()) {
        let mesh = random::mesh(seed);
        let text = dumped(&mesh);
        let back = read(&text).unwrap();
        prop_assert_eq!(&back.problems, &[]);
        prop_assert_eq!(all(&back.mesh), all(&mesh));
        prop_assert_eq!(String::from_utf8(dumped(&back.mesh)).unwrap(), String::from_utf8(text).unwrap());
    }

    // Whatever stands where: no panic, and what was made of it comes back as it is.
    #[test]
    fn odd_values_anywhere_do_no_harm(seed in any::<u64>(), places in prop::collection::vec(any::<(u16, u8)>(), 1..4)) {
        let mut text: Value = serde_json::from_slice(&dumped(&random::mesh(seed))).unwrap();
        for (place, odd) in places {
            let place = usize::from(place) % count(&text);
            replace(&mut text, &mut { place }, ODD[usize::from(odd) % ODD.len()]);
        }
        if let Ok(first) = read(text.to_string().as_bytes()) {
            let again = read(&dumped(&first.mesh)).unwrap();
            prop_assert_eq!(&again.problems, &[]);
            prop_assert_eq!(all(&again.mesh), all(&first.mesh));
        }
    }
}

const ODD: [&str; 16] = [
    "null",
    "true",
    "-1",
    "0",
    "70000",
    "1.5",
    "1e99",
    "[]",
    "[[]]",
    "{}",
    "{\"/\": {}}",
    "\"\"",
    "\"n/h\"",
    "\"a/b/10.0.0.1\"",
    "\"10.0.0.1/8\"",
    "\"::ffff:10.0.0.1\"",
];

/// How many values there are in `value`, itself included.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(entries) => entries.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

/// Puts `odd` in the place of the value with number `place`, and counts on.
fn replace(value: &mut Value, place: &mut usize, odd: &str) {
    let Some(left) = place.checked_sub(1) else {
        *value = serde_json::from_str(odd).unwrap();
        *place = usize::MAX;
        return;
    };
    *place = left;
    match value {
        Value::Array(entries) => entries.iter_mut().for_each(|entry| replace(entry, place, odd)),
        Value::Object(fields) => fields.values_mut().for_each(|field| replace(field, place, odd)),
        _ => {}
    }
}

fn name(namespace: &str, hostname: &str) -> ServiceName {
    ServiceName { namespace: namespace.into(), hostname: hostname.into() }
}

// The shapes of ztunnel: ports at the services, endpoints that are not healthy left out, `null` for nothing.
#[test]
fn ztunnels_dump_is_understood() {
    let workload = |name: &str, ip: &str, services: &[&str]| {
        json!({
            "workloadIps": [ip], "protocol": "HBONE", "networkMode": "Standard",
            "uid": format!("Kubernetes//Pod/shop/{name}"), "name": name, "namespace": "shop",
            "serviceAccount": "sa", "workloadType": "statefulset", "status": "Healthy", "clusterId": "c1",
            "services": services, "capacity": 1, "futureField": [{}]
        })
    };
    let mut proxied = workload("b", "10.0.0.3", &["shop/echo"]);
    proxied["status"] = json!("Unhealthy");
    proxied["applicationTunnel"] = json!({"protocol": "PROXY", "port": null});
    proxied["waypoint"] = json!({"destination": "net/10.9.9.9", "hboneMtlsPort": 15008});
    let endpoint =
        json!({"workloadUid": "Kubernetes//Pod/shop/a", "port": {"80": 8080}, "status": "Healthy"});
    let dump = json!({
        "config": {
            "network": "n1", "inboundAddr": "[::]:15008", "illegalPorts": [15008, 15006, 15001],
            "localhostAppTunnel": false, "clusterDomain": "mesh.internal", "preferedServiceNamespace": null,
            "xdsOnDemand": true, "ipv6Enabled": false,
            "proxyWorkloadInformation": {"name": "a", "namespace": "shop", "serviceAccount": "sa"}
        },
        "certificates": [{"identity": "spiffe://cluster.local/ns/shop/sa/sa", "state": "Unavailable: x", "certChain": []}],
        "version": {"version": "1"},
        "workloads": [workload("a", "10.0.0.2", &["shop/echo", "shop/later"]), proxied],
        "services": [{
            "name": "echo", "namespace": "shop", "hostname": "echo", "vips": ["n1/10.1.0.1", "/fd00::1"],
            "cidrVips": [{"network": "n1", "cidr": "10.2.0.0/16"}, "n1/10.3.0.0/16"],
            "ports": {"80": 0}, "endpoints": {"Kubernetes//Pod/shop/a": endpoint},
            "subjectAltNames": ["spiffe://cluster.local/ns/shop/sa/x", "dns:echo"],
            "weightedWaypoints": [
                {"destination": {"destination": "shop/waypoint", "hboneMtlsPort": 15008}, "weight": 3}
            ],
            "loadBalancer": {"routingPreferences": ["Region"], "mode": "Strict", "healthPolicy": "OnlyHealthy"},
            "canonical": true, "visibility": "Public"
        }],
        "policies": [{
            "name": "p", "namespace": "shop", "scope": "Namespace", "action": "Deny", "dryRun": false,
            "rules": [[[{"principals": [{"Prefix": "a"}, {"Presence": []}], "notSourceIps": ["10.0.0.0/8"]}]]]
        }],
        "stagedServices": {"shop/later": {"Kubernetes//Pod/shop/a": {
            "workloadUid": "Kubernetes//Pod/shop/a", "port": {"1": 2}, "status": "Healthy"
        }}},
        "staticConfig": {"workloads": [{"not": "read"}]}
    });
    let Undumped { mesh, settings, certificates, problems } = understood(&dump);
    assert_eq!(problems, []);
    assert_eq!(mesh.network(), "n1");
    let route = RouteConfig {
        hbone_port: 15008,
        illegal_ports: vec![15008, 15006, 15001],
        localhost_app_tunnel: false,
    };
    assert_eq!(
        settings,
        Settings {
            route,
            network: "n1".into(),
            cluster_domain: "mesh.internal".into(),
            preferred_namespace: None,
            ipv6: false,
            on_demand: true,
            stands_for: Some(LocalWorkload {
                name: "a".into(),
                namespace: "shop".into(),
                service_account: "sa".into()
            }),
            gaps: vec![]
        }
    );
    assert_eq!(certificates[0].state, "Unavailable: x");
    let a = mesh.workload("Kubernetes//Pod/shop/a").unwrap();
    assert!(settings.stands_for.as_ref().unwrap().is(a));
    assert_eq!(a.services.get(&name("shop", "echo")), Some(&[(80, 8080)].into()));
    assert_eq!(a.services.get(&name("shop", "later")), Some(&[(1, 2)].into()));
    assert_eq!((a.protocol, &*a.cluster, &*a.namespace), (TunnelProtocol::Hbone, "c1", "shop"));
    assert_eq!(a.identity_ref().to_string(), "spiffe://cluster.local/ns/shop/sa/sa");
    let b = mesh.workload("Kubernetes//Pod/shop/b").unwrap();
    assert!(!settings.stands_for.as_ref().unwrap().is(b));
    assert_eq!(b.services.get(&name("shop", "echo")), Some(&PortMap::default()));
    assert_eq!(b.application_tunnel.unwrap().port, None);
    assert!(
        matches!(&b.waypoint.as_ref().unwrap().target, GatewayTarget::Address(at) if &*at.network == "net")
    );
    let echo = mesh.service(&name("shop", "echo")).unwrap();
    assert_eq!((echo.addresses.len(), echo.cidrs.len(), echo.subject_alt_names.len()), (2, 2, 1));
    assert_eq!(echo.weighted_waypoints[0].weight, 3);
    let policy = mesh.policy("shop", "p").unwrap();
    let principals = &policy.rules[0].clauses[0].matches[0].principals;
    assert_eq!(principals[..], [StringMatch::Prefix("a".into()), StringMatch::Presence]);
}

// As istioctl reads them.
#[test]
fn lists_may_be_maps_or_null() {
    let one = json!({"uid": "u", "namespace": "n", "workloadIps": ["10.0.0.1"]});
    let dump = json!({"workloads": {"/10.0.0.1": one}, "services": null, "policies": {}});
    let read = understood(&dump);
    assert_eq!((read.mesh.workload_count(), read.problems.len()), (1, 0));
    assert_eq!(
        read.settings.gaps,
        [Gap::HbonePort, Gap::OwnPorts, Gap::LocalhostAppTunnel, Gap::Network, Gap::ClusterDomain, Gap::Ipv6]
    );
    assert_eq!(read.settings.route, RouteConfig::default());
}

#[test]
fn a_bad_entry_is_named_and_the_others_are_used() {
    let good = json!({"uid": "good", "namespace": "n"});
    let long = "x".repeat(500);
    let dump = json!({
        "workloads": [
            good,
            {"uid": "u", "namespace": "n", "workloadIps": ["10.0.0.1", "10.0.0.256"]},
            {"uid": "u"},
            {"uid": "u", "namespace": "n/m"},
            {"uid": "u", "namespace": "n", "capacity": -1},
            {"uid": "u", "namespace": "n", "servicePorts": {"a/b": {"80": 70000}}},
            {"uid": "u", "namespace": "n", "servicePorts": {"a/b": {"http": 1}}},
            {"uid": "u", "namespace": "n", "protocol": long},
            {"uid": "good", "namespace": "n"},
            7
        ],
        "services": [
            {"namespace": "n", "hostname": "h", "waypoint": {"destination": "nowhere", "hboneMtlsPort": 1}},
            {"namespace": "n", "hostname": "ok", "endpoints": {"gone": {"port": {}}}},
            {"namespace": "a/b", "hostname": "h"},
        ],
        "stagedServices": {"none": {}},
        "config": {"inboundAddr": "here"}
    });
    assert_eq!(understood(&dump).mesh.workload_count(), 1);
    assert_eq!(
        problems(&dump),
        [
            "services[0].waypoint.destination: got \"nowhere\", expected network/address or namespace/hostname",
            "services[2].namespace: got \"a/b\", expected a namespace, which has no `/`",
            "stagedServices.none: got \"none\", expected namespace/hostname",
            "workloads[1].workloadIps[1]: got \"10.0.0.256\", expected an IP address",
            "workloads[2].namespace: missing, expected the workload's namespace",
            "workloads[3]: no SPIFFE identity: namespace and service account must be one or more of A-Z, a-z, 0-9, '.', '-' \
             and '_', and neither '.' nor '..'",
            "workloads[4].capacity: got -1, expected a number from 0 to 4294967295",
            "workloads[5].servicePorts[\"a/b\"][\"80\"]: got 70000, expected a port from 0 to 65535",
            "workloads[6].servicePorts[\"a/b\"].http: got \"http\", expected a port from 0 to 65535",
            &format!("workloads[7].protocol: got \"{}…, expected TCP or HBONE", "x".repeat(59)),
            "workloads[9]: got 7, expected an object",
            "config.inboundAddr: got \"here\", expected an address with a port",
            "workloads[8]: workload good appears twice: give each its own uid",
            "services[1].endpoints.gone: this endpoint is none of the dump's workloads",
        ]
    );
}

// A condition that is left out could turn "denied" into "allowed".
#[test]
fn policies_that_cannot_be_read_are_taken_at_their_strictest() {
    let policy = |name: &str, rules: Value| {
        json!({
            "name": name, "namespace": "n", "scope": "Global", "action": "Allow", "dryRun": false, "rules": rules
        })
    };
    let mut odd = policy("odd", json!([]));
    odd["action"] = json!("Audit");
    odd["scope"] = json!("Planet");
    let entry = policy(
        "entry",
        json!([[], [[{}, {"sourceIps": ["10.0.0.0/8", "ten"], "principals": [{"Regex": "."}]}]]]),
    );
    let flat = policy("flat", json!([[7]]));
    let told = json!({"policies": [odd, entry, flat, {"name": "x"}]});
    assert_eq!(
        problems(&told),
        [
            "policies[0].scope: got \"Planet\", expected Global, Namespace or WorkloadSelector",
            "policies[0].action: got \"Audit\", expected Allow or Deny",
            "policies[1].rules[1][0][1].principals[0]: got {\"Regex\":\".\"}, expected one of {\"Exact\": s}, {\"Prefix\": s}, \
             {\"Suffix\": s} and {\"Presence\": []}",
            "policies[1].rules[1][0][1].sourceIps[1]: got \"ten\", expected an address range such as 10.0.0.0/8",
            "policies[2].rules[0][0]: got 7, expected a list",
            "policies[3].namespace: missing, expected the policy's namespace",
        ]
    );
    let mesh = understood(&told).mesh;
    let strictest = |name: &str, scope| Some(Authorization::unreadable("n".into(), name.into(), scope));
    let found = |name| mesh.policy("n", name).map(|policy| (**policy).clone());
    assert_eq!(found("odd"), strictest("odd", PolicyScope::Namespace));
    assert_eq!(found("flat"), strictest("flat", PolicyScope::Global));
    let entry = found("entry").unwrap();
    let one = &entry.rules[1].clauses[0].matches[1];
    assert_eq!((entry.action, one.source_ips.len(), one.principals.len()), (Action::Allow, 1, 0));
    assert!(one.unreadable.contains(MatchList::SourceIps) && one.unreadable.contains(MatchList::Principals));
    assert_eq!(mesh.policies().count(), 3);
}

#[test]
fn own_ports_are_told_from_addresses_where_nobody_lists_them() {
    let settings = |config: Value| understood(&json!({"workloads": [], "config": config})).settings;
    let ours = json!({
        "network": "", "inboundAddr": "127.0.0.2:1008", "inboundPlaintextAddr": "127.0.0.2:1006",
        "outboundAddr": "127.0.0.2:1001", "socks5Addr": "127.0.0.2:1080", "clusterDomain": "d", "ipv6Enabled": true
    });
    let read = settings(ours);
    assert_eq!((read.route.hbone_port, &read.route.illegal_ports[..]), (1008, &[1008, 1006, 1001, 1080][..]));
    assert_eq!(read.gaps, [Gap::LocalhostAppTunnel]);
    let read = settings(json!({"inboundAddr": "[::]:0", "socks5Addr": null}));
    assert_eq!(read.route, RouteConfig::default());
    assert!(read.gaps.contains(&Gap::HbonePort) && read.gaps.contains(&Gap::OwnPorts));
}

#[test]
fn what_is_no_dump_is_refused() {
    let error = |text: &str| read(text.as_bytes()).unwrap_err();
    for text in ["", "[]", "{\"workloads\": [}", "{\"workloads\": []} {}", "{\"workloads\": 7}"] {
        assert!(matches!(error(text), UndumpError::Json(_)), "{text}");
    }
    assert!(error("{\"workloads\": \"7\"}").to_string().contains("expected a list in `workloads` at line 1"));
    assert_eq!(error("{\"config\": {}}"), UndumpError::NotADump);
}
