use std::net::IpAddr;

use adit_core::mesh::{
    Action, ApplicationProtocol, ApplicationTunnel, GatewayAddress, GatewayTarget, Health, HealthPolicy,
    IpFamilies, LoadBalancingMode, NetworkAddress, NetworkMode, RoutingScope, ServiceName, StringMatch,
    TunnelProtocol, Visibility,
};

use super::*;

fn parsed(text: &str) -> Mesh {
    parse(Path::new("mesh.yaml"), text, "").unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let error = parse(Path::new("mesh.yaml"), text, "").expect_err("accepted").to_string();
    assert_eq!(error, expected);
}

/// For messages of the YAML parser: that they lead to the spot.
#[track_caller]
fn refused_with(text: &str, parts: &[&str]) {
    let error = parse(Path::new("mesh.yaml"), text, "").expect_err("accepted").to_string();
    for part in [&["mesh.yaml: "], parts].concat() {
        assert!(error.contains(part), "{error:?} lacks {part:?}");
    }
}

fn name(namespace: &str, hostname: &str) -> ServiceName {
    ServiceName { namespace: namespace.into(), hostname: hostname.into() }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Of the form of Istio's own example for running on localhost.
const LOCALHOST: &str = r#"
workloads:
- uid: cluster1//v1/Pod/default/local
  name: local
  namespace: default
  serviceAccount: default
  workloadIps: ["127.0.0.1"]
  protocol: HBONE
  node: local
  network: ""
  services:
    "default/example.com":
      80: 8080
    "default/example2.com":
      80: 8080
# The same without a proxy.
- uid: cluster1//v1/Pod/default/local-tcp
  name: local-tcp
  namespace: default
  workloadIps: ["127.0.0.2"]
  protocol: TCP
  services:
    "default/example.com":
      80: 8081
policies:
  - action: Allow
    rules:
    - - - notDestinationPorts:
          - 9999
    name: deny-9999
    namespace: default
    scope: Namespace
services:
- name: local
  namespace: default
  hostname: example.com
  vips:
    - /127.10.0.1
  ports:
    80: 8080
  subjectAltNames:
   - spiffe://cluster.local/ns/default/sa/local
- name: remote
  namespace: default
  hostname: example2.com
  vips:
    - remote/127.10.0.2
  ports:
    80: 8080
"#;

#[test]
fn istios_example_loads() {
    let mesh = parsed(LOCALHOST);
    let local = mesh.workload_by_address("", ip("127.0.0.1")).unwrap();
    assert_eq!(local.identity().to_string(), "spiffe://cluster.local/ns/default/sa/default");
    assert_eq!((local.protocol, local.capacity, &*local.cluster), (TunnelProtocol::Hbone, 1, "Kubernetes"));
    let service = mesh.service_by_vip("", ip("127.10.0.1"), "default").unwrap();
    assert_eq!(service.subject_alt_names[0].service_account(), "local");
    let endpoints = mesh.endpoints(&service.name);
    let ports: Vec<_> = endpoints.iter().map(|endpoint| service.port_at(endpoint, 80)).collect();
    assert_eq!(ports, [Some(8080), Some(8081)]);
    assert!(mesh.service_by_vip("", ip("127.10.0.2"), "default").is_none());
    assert!(mesh.service_by_vip("remote", ip("127.10.0.2"), "default").is_some());
    let policy = mesh.policies().next().unwrap();
    assert_eq!((&*policy.key(), policy.action, policy.dry_run), ("default/deny-9999", Action::Allow, false));
    assert_eq!(policy.rules[0].clauses[0].matches[0].not_destination_ports, [9999]);
}

#[test]
fn the_documented_example_loads() {
    let lines = include_str!("mod.rs").lines().filter_map(|line| line.strip_prefix("//!"));
    let example = lines.skip_while(|line| *line != " ```yaml").skip(1).take_while(|line| *line != " ```");
    let mesh = parsed(&example.collect::<Vec<_>>().join("\n"));
    assert_eq!((mesh.workloads().count(), mesh.services().count(), mesh.policies().count()), (1, 1, 1));
    assert_eq!(mesh.endpoints(&name("default", "echo.default.svc.cluster.local")).len(), 1);
}

#[test]
fn every_field_arrives() {
    let mesh = parsed(
        r#"
workloads:
- name: web
  namespace: shop
  workloadIps: [10.0.0.1, "::ffff:10.0.0.2", "fd00::1"]
  uid: c//Pod/shop/web
  protocol: HBONE
  networkMode: HostNetwork
  trustDomain: td
  serviceAccount: sa
  network: net
  workloadName: wn
  workloadType: cronjob
  canonicalName: cn
  canonicalRevision: cr
  node: n1
  nativeTunnel: true
  applicationTunnel: {protocol: NONE, port: 15088}
  authorizationPolicies: [shop/p]
  status: Unhealthy
  clusterId: c2
  locality: {region: r, zone: z, subzone: s}
  services: {"shop/web.shop": {"80": 8080}}
  capacity: 7
  hostname: ""
  waypoint: null
services:
- name: web
  namespace: shop
  hostname: web.shop
  vips: [net/10.1.0.1]
  cidrVips: [{network: net, cidr: 10.2.0.0/16}, "/fd01::/64"]
  ports: {"80": 0, 443: 8443}
  loadBalancer: {routingPreferences: [Network, Region, Zone, Subzone, Node, Cluster], mode: Failover, healthPolicy: AllowAll}
  ipFamilies: IPv4
  canonical: true
  visibility: Namespace
  endpoints: {}
  weightedWaypoints: []
policies:
- name: p
  namespace: shop
  scope: WorkloadSelector
  action: Deny
  dryRun: true
  rules:
  - - - namespaces: [{Exact: a}]
        notNamespaces: [{Prefix: b}]
        principals: [{Suffix: c}, !Exact d]
        notPrincipals: [{Presence: []}, !Presence []]
        serviceAccounts: [{namespace: ns, serviceAccount: sa}]
        notServiceAccounts: [{namespace: ns, serviceAccount: other}]
        sourceIps: [10.0.0.1]
        notSourceIps: [10.0.0.7/8]
        destinationIps: ["fd00::/64"]
        notDestinationIps: ["::1"]
        destinationPorts: [80]
        notDestinationPorts: [81, "82"]
    - []
  - []
"#,
    );
    let w = mesh.workloads().next().unwrap();
    assert_eq!(w.addresses, [ip("10.0.0.1"), ip("10.0.0.2"), ip("fd00::1")]);
    assert_eq!(w.identity().to_string(), "spiffe://td/ns/shop/sa/sa");
    assert_eq!(
        (w.network_mode, w.status, w.native_tunnel),
        (NetworkMode::HostNetwork, Health::Unhealthy, true)
    );
    assert_eq!(
        w.application_tunnel,
        Some(ApplicationTunnel { protocol: ApplicationProtocol::None, port: Some(15088) })
    );
    let texts =
        [&w.uid, &w.name, &w.network, &w.workload_name, &w.canonical_name, &w.canonical_revision, &w.node];
    assert_eq!(texts.map(|text| &**text), ["c//Pod/shop/web", "web", "net", "wn", "cn", "cr", "n1"]);
    let place = [&w.cluster, &w.locality.region, &w.locality.zone, &w.locality.subzone];
    assert_eq!(place.map(|text| &**text), ["c2", "r", "z", "s"]);
    assert_eq!((w.capacity, format!("{:?}", w.workload_type)), (7, "Cronjob".to_owned()));

    let s = mesh.service(&name("shop", "web.shop")).unwrap();
    assert_eq!((&*s.object_name, s.canonical, s.visibility), ("web", true, Visibility::Namespace));
    assert_eq!((s.ip_families, s.load_balancing.mode), (IpFamilies::Ipv4, LoadBalancingMode::Failover));
    assert_eq!(s.load_balancing.health, HealthPolicy::AllowAll);
    use RoutingScope::{Cluster, Network, Node, Region, Subzone, Zone};
    assert_eq!(s.load_balancing.preferences, [Network, Region, Zone, Subzone, Node, Cluster]);
    assert_eq!(s.ports.iter().collect::<Vec<_>>(), [(&80, &0), (&443, &8443)]);
    assert_eq!((s.port_at(w, 80), s.port_at(w, 443)), (Some(8080), Some(8443)));
    for (network, vip) in [("net", "10.1.0.1"), ("net", "10.2.9.9"), ("", "fd01::9")] {
        assert!(mesh.service_by_vip(network, ip(vip), "shop").is_some(), "{vip}");
        assert!(mesh.service_by_vip(network, ip(vip), "elsewhere").is_none(), "{vip}");
    }

    let p = mesh.policies().next().unwrap();
    assert_eq!((p.action, p.scope, p.dry_run), (Action::Deny, PolicyScope::WorkloadSelector, true));
    let clauses: Vec<_> = p.rules.iter().map(|rule| rule.clauses.len()).collect();
    assert_eq!(clauses, [2, 0]);
    let m = &p.rules[0].clauses[0].matches[0];
    assert_eq!(m.namespaces, [StringMatch::Exact("a".into())]);
    assert_eq!(m.not_namespaces, [StringMatch::Prefix("b".into())]);
    assert_eq!(m.principals, [StringMatch::Suffix("c".into()), StringMatch::Exact("d".into())]);
    assert_eq!(m.not_principals, [StringMatch::Presence, StringMatch::Presence]);
    assert_eq!(&*m.service_accounts[0].service_account, "sa");
    assert_eq!(&*m.not_service_accounts[0].service_account, "other");
    let cidrs = [&m.source_ips, &m.not_source_ips, &m.destination_ips, &m.not_destination_ips];
    assert_eq!(cidrs.map(|list| list[0].to_string()), ["10.0.0.1/32", "10.0.0.7/8", "fd00::/64", "::1/128"]);
    assert_eq!((&*m.destination_ports, &*m.not_destination_ports), (&[80][..], &[81, 82][..]));
}

#[test]
fn an_empty_file_is_an_empty_mesh() {
    for text in ["", "# nothing\n", "workloads: []\nservices: []\npolicies: []\n"] {
        assert_eq!(parsed(text).workloads().count(), 0);
    }
}

#[test]
fn errors_of_form_lead_to_the_spot() {
    let workload = "workloads:\n- namespace: a\n  services: {}\n  workloadIps: [10.0.0.1]\n";
    refused_with(&format!("{workload}  protocoll: HBONE\n"), &["protocoll", "line 5"]);
    refused_with(
        &format!("{workload}  protocol: hbone\n"),
        &["workloads[0]", "hbone", "TCP", "HBONE", "line 5"],
    );
    refused_with(&format!("{workload}  capacity: -1\n"), &["workloads[0].capacity", "line 5"]);
    refused_with("workload: []\n", &["unknown field `workload`", "workloads"]);
    refused_with("workloads:\n- name: a\n", &["workloadIps"]);
    refused_with("workloads: [\n", &["line"]);
    let service = "services:\n- {name: s, namespace: a, hostname: h, vips: [], ports: {80: 65536}}\n";
    refused_with(service, &["services[0].ports", "65536", "a port between 0 and 65535"]);
    let service = "services:\n- {name: s, namespace: a, hostname: h, vips: [], ports: {80: 1, \"80\": 2}}\n";
    refused_with(service, &["services[0].ports", "key 80 appears twice"]);
    refused_with("workloads: []\nworkloads: []\n", &["duplicate field `workloads`"]);
    let service = "services:\n- {name: s, namespace: a, hostname: h, vips: [], ports: {http: 80}}\n";
    refused_with(service, &["services[0].ports", "http", "a port between 0 and 65535"]);
    let service =
        "services:\n- {name: s, namespace: a, hostname: h, vips: [], ports: {}, cidrVips: [{cidr: 1}]}\n";
    refused_with(service, &["network/cidr"]);
}

// Fail closed (design §6): nothing that cannot be read is left out of a policy.
#[test]
fn policies_that_cannot_be_read_are_refused() {
    let with = |rules: &str| {
        format!("policies:\n- {{name: p, namespace: a, scope: Global, action: Deny, rules: [[[{rules}]]]}}\n")
    };
    refused(
        &with("{sourceIps: [10.0.0.0/33]}"),
        "mesh.yaml: policies[0] (p): rules[0][0][0].sourceIps[0]: got \"10.0.0.0/33\", expected an address range such as \
         10.0.0.0/8 or fd00::/64",
    );
    for empty in ["{}", "{Exact: a, Prefix: b}", "a", "{Regex: a}", "{Exact: [a]}", "{Presence: yes}"] {
        refused_with(
            &with(&format!("{{principals: [{empty}]}}")),
            &["policies[0].rules[0][0][0].principals[0]"],
        );
    }
    refused_with(
        &with("{destinationPorts: [65616]}"),
        &["destinationPorts[0]", "a port between 0 and 65535"],
    );
    refused_with(&with("{paths: [/]}"), &["unknown field `paths`"]);
    let scope = "policies:\n- {name: p, namespace: a, scope: Mesh, action: Deny, rules: []}\n";
    refused_with(scope, &["unknown variant `Mesh`", "WorkloadSelector"]);
    let action = "policies:\n- {name: p, namespace: a, scope: Global, action: Audit, rules: []}\n";
    refused_with(action, &["unknown variant `Audit`"]);
    refused_with(
        "policies:\n- {name: p, namespace: a, scope: Global, action: Deny}\n",
        &["missing field `rules`"],
    );
}

#[test]
fn values_that_make_no_sense_are_all_told() {
    refused(
        r#"
workloads:
- {name: a, namespace: default, services: {}, workloadIps: [10.0.0.300]}
- {name: b, namespace: default, services: {example.com: {80: 80}}, workloadIps: [10.0.0.1]}
- {name: c, namespace: default, services: {}, workloadIps: [10.0.0.1], authorizationPolicies: []}
- {namespace: default, services: {}, workloadIps: []}
- {name: d, namespace: "", services: {}, workloadIps: [10.0.0.1]}
services:
- {name: s, namespace: default, hostname: h, vips: [10.0.0.1], ports: {}}
- {name: t, namespace: default, hostname: h, vips: [], ports: {0: 80}}
- {name: u, namespace: default, hostname: h, vips: [], ports: {}, subjectAltNames: [cluster.local/ns/a/sa/b]}
policies:
- {name: a/b, namespace: default, scope: Global, action: Deny, rules: []}
"#,
        "mesh.yaml: 8 problems
  workloads[0] (a): workloadIps[0]: got \"10.0.0.300\", expected an IPv4 or IPv6 address
  workloads[1] (b): services: got \"example.com\", expected namespace/hostname
  workloads[3]: workloadIps: got \"[]\", expected at least one IP address, or a hostname or networkGateway
  workloads[4] (d): trustDomain, namespace, serviceAccount: \"spiffe://cluster.local/ns//sa/default\" is no identity: \
         namespace and service account must be one or more of A-Z, a-z, 0-9, '.', '-' and '_', and neither '.' nor '..'
  services[0] (s): vips[0]: got \"10.0.0.1\", expected network/address; with the default network: /10.0.0.1
  services[1] (t): ports: got \"0\", expected service ports between 1 and 65535
  services[2] (u): subjectAltNames[0]: \"cluster.local/ns/a/sa/b\" is no identity: SPIFFE identity must begin with spiffe://
  policies[0] (a/b): name: got \"a/b\", expected a name without '/'",
    );
}

#[test]
fn gateways_hostnames_and_tunnels() {
    let mesh = parsed(
        r#"
workloads:
- name: a
  namespace: default
  services: {}
  workloadIps: []
  waypoint: {destination: /10.0.0.2, hboneMtlsPort: 15008}
  networkGateway: {destination: "far/::ffff:10.0.0.3", hboneMtlsPort: 15009}
  hostname: example.com
  applicationTunnel: {protocol: PROXY, port: 15088}
services:
- name: s
  namespace: default
  hostname: h
  vips: []
  ports: {}
  waypoint: {destination: default/waypoint.example, hboneMtlsPort: 15008}
  weightedWaypoints:
  - {destination: {destination: default/canary, hboneMtlsPort: 15008}, weight: 1}
  - {destination: {destination: /fd00::1, hboneMtlsPort: 15008}, weight: 0}
"#,
    );
    let address = |network: &str, address: &str, hbone_port| {
        let address = NetworkAddress { network: network.into(), address: address.parse().unwrap() };
        Arc::new(GatewayAddress { target: GatewayTarget::Address(address), hbone_port })
    };
    let named = |hostname: &str| {
        let name = ServiceName { namespace: "default".into(), hostname: hostname.into() };
        Arc::new(GatewayAddress { target: GatewayTarget::Hostname(name), hbone_port: 15008 })
    };
    let workload = mesh.workloads().next().unwrap();
    assert_eq!(workload.waypoint, Some(address("", "10.0.0.2", 15008)));
    assert_eq!(workload.network_gateway, Some(address("far", "10.0.0.3", 15009)));
    assert_eq!((&*workload.hostname, workload.addresses.len()), ("example.com", 0));
    let tunnel = ApplicationTunnel { protocol: ApplicationProtocol::Proxy, port: Some(15088) };
    assert_eq!(workload.application_tunnel, Some(tunnel));
    let service = mesh.services().next().unwrap();
    assert_eq!(service.waypoint, Some(named("waypoint.example")));
    let weighted: Vec<_> =
        service.weighted_waypoints.iter().map(|w| (Arc::clone(&w.gateway), w.weight)).collect();
    assert_eq!(weighted, [(named("canary"), 1), (address("", "fd00::1", 15008), 0)]);
}

#[test]
fn gateways_that_make_no_sense_are_refused() {
    let with = |gateway: &str| {
        format!(
            "workloads:\n- {{namespace: a, services: {{}}, workloadIps: [10.0.0.1], waypoint: {gateway}}}\n"
        )
    };
    refused(
        &with("{destination: 10.0.0.2, hboneMtlsPort: 15008}"),
        "mesh.yaml: workloads[0]: waypoint: got \"10.0.0.2\", expected network/address or namespace/hostname; with the \
         default network: /10.0.0.1",
    );
    refused_with(
        &with("{destination: /10.0.0.2, hboneMtlsPort: 0}"),
        &["waypoint", "an hboneMtlsPort between 1 and 65535"],
    );
    refused_with(&with("{destination: /10.0.0.2}"), &["hboneMtlsPort"]);
    refused_with(&with("{destination: /10.0.0.2, hboneMtlsPort: 1, weight: 1}"), &["weight"]);
}

#[test]
fn what_is_not_supported_yet_is_refused_by_name() {
    refused(
        "services: [{name: s, namespace: default, hostname: h, vips: [], ports: {}, endpoints: {uid: {}}}]",
        "mesh.yaml: services[0] (s): not supported yet: endpoints (name the service in the workloads' services instead); \
         remove it to go on without",
    );
}

#[test]
fn a_listed_policy_must_be_defined() {
    refused(
        "workloads:\n- {name: a, namespace: b, services: {}, workloadIps: [10.0.0.1], authorizationPolicies: [b/p]}\n",
        "mesh.yaml: workloads[0] (a): authorizationPolicies: got \"b/p\", expected the namespace/name of an entry of policies",
    );
}

#[test]
fn entries_that_clash_are_refused() {
    let workload = "{uid: u, namespace: b, services: {}, workloadIps: [10.0.0.1]}";
    refused(
        &format!("workloads: [{workload}, {workload}]"),
        "mesh.yaml: workload u appears twice: give each its own uid",
    );
}

#[test]
fn entries_without_uid_or_name_stay_apart() {
    let workload = "{namespace: b, services: {}, workloadIps: [10.0.0.1]}";
    let mesh = parsed(&format!("workloads: [{workload}, {workload}]"));
    let uids: Vec<_> = mesh.workloads().map(|workload| workload.uid.to_string()).collect();
    assert_eq!(uids, ["local/b//0", "local/b//1"]);
}

#[test]
fn a_missing_file_is_named() {
    let error = load(Path::new("/nonexistent/mesh.yaml"), "").unwrap_err().to_string();
    assert!(error.starts_with("cannot read the local configuration /nonexistent/mesh.yaml: "), "{error}");
}
