//! Whole answers, as text and as JSON, from a dump in the shape of ztunnel's.
use clap::Parser;
use serde_json::{Value, json};

use super::*;
use crate::cli::{Cli, Command};

const DUMP: &str = include_str!("tests/dump.json");

fn arguments(more: &[&str]) -> Explain {
    match Cli::try_parse_from([&["adit-node", "explain"], more].concat()).unwrap().command {
        Some(Command::Explain(explain)) => explain,
        other => panic!("{other:?}"),
    }
}

/// The answer by the dump that `change` makes of [`DUMP`].
fn answered(from: &str, to: &str, change: impl Fn(&mut Value)) -> Result<Report, ExplainError> {
    let mut dump = serde_json::from_str(DUMP).unwrap();
    change(&mut dump);
    let dump = undump::read(dump.to_string().as_bytes()).unwrap();
    answer(&dump, &arguments(&["--from", from, "--to", to]))
}

#[track_caller]
fn told(from: &str, to: &str, allowed: bool, expected: &str) {
    let report = answered(from, to, |_| ()).unwrap_or_else(|error| panic!("{error}"));
    let told = format!("\n{report}");
    assert!(told == expected, "told:{told}\nexpected:{expected}");
    assert_eq!(report.is_let_through(), allowed);
}

const NO_CERTIFICATE: &str = "the proxy has no certificate for spiffe://cluster.local/ns/shop/sa/web (Unavailable: no CA \
                              answers): tunnels fail";

#[test]
fn the_dump_is_whole() {
    assert_eq!(undump::read(DUMP.as_bytes()).unwrap().problems, []);
}

#[test]
fn a_service_with_endpoints_of_two_ranks_by_name() {
    let expected = "
asked       echo is shop/echo.shop.svc.cluster.local: 10.1.0.1
source      k//Pod/shop/web-1 spiffe://cluster.local/ns/shop/sa/web
client      10.0.0.1
target      10.1.0.1:80
service     shop/echo.shop.svc.cluster.local
waypoint    -
endpoints   shop/echo.shop.svc.cluster.local port 80, Failover Region Zone
            k//Pod/shop/echo-1  port 8080   weight 1      rank 1  eligible
            k//Pod/shop/echo-2  port 8080   weight 5      rank 0  not preferred
            k//Pod/shop/echo-3  port 8080   weight 1      rank 2  unhealthy
protocol    HBONE
peer        k//Pod/shop/echo-1
dial        10.0.0.2:15008
authority   10.0.0.2:8080
expected    spiffe://cluster.local/ns/shop/sa/echo
pool key    spiffe://cluster.local/ns/shop/sa/web (10.0.0.1) to 10.0.0.2:15008 as spiffe://cluster.local/ns/shop/sa/echo
application 10.0.0.2:8080, shown the client's address 10.0.0.1
admitted    the target is the address connected to
policies    shop/trial Deny, Global, on trial: rule 0 matches
            shop/clients Allow, Namespace: rule 0 matches
            shop/no-debug Deny, WorkloadSelector: no rule matches
verdict     allowed: shop/clients (rule 0)
            dry-run: deny policy match: shop/trial (rule 0)
because     the target is service shop/echo.shop.svc.cluster.local
            endpoint k//Pod/shop/echo-1 drawn from 1 eligible of 2
            port 80 maps to 8080
            it speaks HBONE
note        the proxy has no certificate for spiffe://cluster.local/ns/shop/sa/web (Unavailable: no CA answers): tunnels fail
";
    told("shop/web-1", "echo:80", true, expected);
}

#[test]
fn a_service_behind_a_waypoint_by_address() {
    let expected = "
source      k//Pod/shop/web-1 spiffe://cluster.local/ns/shop/sa/web
client      10.0.0.1
target      10.1.0.2:80
service     shop/guarded.shop.svc.cluster.local
waypoint    shop/waypoint.shop.svc.cluster.local:15008
endpoints   shop/waypoint.shop.svc.cluster.local port 15008, Standard
            k//Pod/shop/waypoint-1  port 15008  weight 1      rank 0  eligible
protocol    HBONE
peer        k//Pod/shop/waypoint-1
dial        10.0.0.100:15008
authority   10.1.0.2:80
expected    spiffe://cluster.local/ns/shop/sa/waypoint
pool key    spiffe://cluster.local/ns/shop/sa/web (10.0.0.1) to 10.0.0.100:15008 as spiffe://cluster.local/ns/shop/sa/waypoint
verdict     the waypoint decides
because     the target is service shop/guarded.shop.svc.cluster.local
            waypoint shop/waypoint.shop.svc.cluster.local:15008 speaks for the service
            endpoint k//Pod/shop/waypoint-1 drawn from 1 eligible of 1
note        the proxy has no certificate for spiffe://cluster.local/ns/shop/sa/web (Unavailable: no CA answers): tunnels fail
";
    told("10.0.0.1", "10.1.0.2:80", true, expected);
}

#[test]
fn a_service_of_another_network() {
    let expected = "
asked       remote.shop is shop/remote.shop.svc.cluster.local: 10.1.0.3
source      k//Pod/shop/web-1 spiffe://cluster.local/ns/shop/sa/web
client      10.0.0.1
target      10.1.0.3:80
service     shop/remote.shop.svc.cluster.local
waypoint    -
endpoints   shop/remote.shop.svc.cluster.local port 80, Standard
            k//Pod/shop/remote-1  port 8080   weight 1      rank 0  eligible
protocol    DOUBLEHBONE
peer        k//Pod/shop/gateway-1
dial        10.9.0.200:15009
authority   remote.shop.svc.cluster.local:80
expected    spiffe://cluster.local/ns/shop/sa/gateway
inside      spiffe://cluster.local/ns/shop/sa/remote
pool key    spiffe://cluster.local/ns/shop/sa/web (10.0.0.1) to 10.9.0.200:15009 as spiffe://cluster.local/ns/shop/sa/gateway
verdict     the other network's proxies decide
because     the target is service shop/remote.shop.svc.cluster.local
            endpoint k//Pod/shop/remote-1 drawn from 1 eligible of 1
            port 80 maps to 8080
            k//Pod/shop/remote-1 is in network \"n2\"
            reached through network gateway n2/10.9.0.200:15009, tunnel in tunnel
            the address is that of workload k//Pod/shop/gateway-1
note        the proxy has no certificate for spiffe://cluster.local/ns/shop/sa/web (Unavailable: no CA answers): tunnels fail
";
    told("n1/10.0.0.1", "remote.shop:80", true, expected);
}

#[test]
fn no_route() {
    let expected = "
source      k//Pod/shop/web-1 spiffe://cluster.local/ns/shop/sa/web
client      10.0.0.1
target      10.1.0.1:99
service     -
waypoint    -
endpoints   shop/echo.shop.svc.cluster.local port 99, Failover Region Zone
            k//Pod/shop/echo-1  port 0      weight 1      rank 1  no port
            k//Pod/shop/echo-2  port 0      weight 5      rank 0  no port
            k//Pod/shop/echo-3  port 0      weight 1      rank 2  unhealthy
refused     no healthy upstream: 10.1.0.1:99
because     the target is service shop/echo.shop.svc.cluster.local
";
    told("k//Pod/shop/web-1", "10.1.0.1:99", false, expected);
}

#[test]
fn a_source_without_a_proxy() {
    let expected = "
source      k//Pod/shop/db-1 spiffe://cluster.local/ns/shop/sa/db
client      10.0.0.5
target      10.0.0.3:99
service     -
waypoint    -
protocol    TCP
peer        k//Pod/shop/echo-2
dial        10.0.0.3:99
application 10.0.0.3:99, shown the client's address 10.0.0.5
policies    shop/trial Deny, Global, on trial: no rule matches
            shop/clients Allow, Namespace: no rule matches
verdict     denied: allow policies exist, but none allowed
because     the source has no proxy: plaintext, without identity
            the address is that of workload k//Pod/shop/echo-2
";
    told("shop/db-1", "10.0.0.3:99", false, expected);
    // But for the workload of a dedicated proxy, whatever it says of itself.
    let dedicated = |dump: &mut Value| {
        dump["config"]["proxyWorkloadInformation"] =
            json!({"name": "db-1", "namespace": "shop", "serviceAccount": "db"});
    };
    let report = answered("shop/db-1", "10.0.0.3:99", dedicated).unwrap();
    assert!(report.is_let_through() && report.to_string().contains("\nprotocol    HBONE\n"), "{report}");
}

#[test]
fn a_denial_as_json() {
    let report = answered("shop/web-1", "echo.shop.svc:81", |_| ()).unwrap();
    let endpoint = |workload: &str, weight: u32, rank: usize, standing: &str| json!({"workload": workload, "port": 9090, "weight": weight, "rank": rank, "standing": standing});
    let (web, echo) = ("spiffe://cluster.local/ns/shop/sa/web", "spiffe://cluster.local/ns/shop/sa/echo");
    let policy = |name: &str, action: &str, scope: &str, dry_run: bool, matched: usize| json!({"name": name, "action": action, "scope": scope, "dryRun": dry_run, "matched": matched});
    let expected = json!({
        "allowed": false,
        "seed": 0,
        "asked": {
            "name": "echo.shop.svc", "service": "shop/echo.shop.svc.cluster.local", "addresses": ["10.1.0.1"]
        },
        "source": "k//Pod/shop/web-1",
        "sourceIdentity": web,
        "client": "10.0.0.1",
        "target": "10.1.0.1:81",
        "service": "shop/echo.shop.svc.cluster.local",
        "waypoint": null,
        "endpoints": [{
            "service": "shop/echo.shop.svc.cluster.local",
            "port": 81,
            "mode": "Failover",
            "preferences": ["Region", "Zone"],
            "endpoints": [
                endpoint("k//Pod/shop/echo-1", 1, 1, "eligible"),
                endpoint("k//Pod/shop/echo-2", 5, 0, "not preferred"),
                endpoint("k//Pod/shop/echo-3", 1, 2, "unhealthy"),
            ]
        }],
        "reasons": [
            "the target is service shop/echo.shop.svc.cluster.local",
            "endpoint k//Pod/shop/echo-1 drawn from 1 eligible of 2",
            "port 81 maps to 9090",
            "it speaks HBONE"
        ],
        "outcome": {"sent": {
            "protocol": "HBONE",
            "dial": "10.0.0.2:15008",
            "resolve": null,
            "peer": "k//Pod/shop/echo-1",
            "authority": "10.0.0.2:9090",
            "expected": [echo],
            "innerExpected": null,
            "poolKey": {
                "source": web, "sourceIp": "10.0.0.1", "destination": "10.0.0.2:15008", "expected": [echo]
            },
            "arrival": {"judged": {
                "destination": "10.0.0.2:9090",
                "application": "10.0.0.2:9090",
                "shownSource": "the client's address 10.0.0.1",
                "reasons": ["the target is the address connected to"],
                "policies": [
                    policy("shop/trial", "Deny", "Global", true, 0),
                    policy("shop/clients", "Allow", "Namespace", false, 0),
                    policy("shop/no-debug", "Deny", "WorkloadSelector", false, 1),
                ],
                "allowed": false,
                "because": "explicitly denied by: shop/no-debug",
                "dryRun": ["dry-run: deny policy match: shop/trial (rule 0)"]
            }}
        }},
        "notes": [NO_CERTIFICATE]
    });
    assert_eq!(serde_json::to_value(&report).unwrap(), expected);
}

#[test]
fn what_a_dump_does_not_say_is_noted() {
    let notes = |to: &str, change: &dyn Fn(&mut Value)| {
        let report = answered("shop/web-1", to, change).unwrap();
        serde_json::to_value(report).unwrap()["notes"].clone()
    };
    let without_config = |dump: &mut Value| {
        dump["config"] = Value::Null;
        dump["certificates"] = Value::Null;
        for workload in dump["workloads"].as_array_mut().unwrap() {
            workload.as_object_mut().unwrap().remove("network");
        }
        dump["services"][0]["vips"] = json!(["/10.1.0.1"]);
    };
    let ports = [
        "the dump does not say the port of HBONE: taken as 15008",
        "the dump does not say the proxy's own ports: taken as 15008, 15006 and 15001",
    ];
    let network = "the dump does not say its proxy's network: taken as the one without a name";
    assert_eq!(notes("10.0.0.2:80", &without_config), json!([ports[0], ports[1], network]));
    // Where it matters only.
    let proxied = |dump: &mut Value| {
        without_config(dump);
        dump["workloads"][2]["applicationTunnel"] = json!({"protocol": "PROXY", "port": 7});
    };
    let loopback = "the dump does not say whether applications with a PROXY tunnel are dialled on loopback: taken as yes";
    assert_eq!(notes("10.0.0.2:80", &proxied), json!([ports[0], ports[1], loopback, network]));
    let domain = "the dump does not say the cluster's domain: taken as cluster.local";
    assert_eq!(notes("echo:80", &without_config)[3], domain);
    let abroad = |dump: &mut Value| dump["config"]["network"] = json!("n2");
    let expected =
        "the source is in network \"n1\", the dump's proxy in \"n2\": addresses are looked up as there";
    assert_eq!(notes("10.9.0.200:80", &abroad)[0], expected);
    let broken = |dump: &mut Value| {
        dump["workloads"][7]["workloadIps"][0] = json!("nowhere");
        dump["config"]["xdsOnDemand"] = json!(true);
        dump["certificates"][0]["state"] = json!("Available");
    };
    let expected = [
        "the proxy asks for addresses as it needs them: what nobody has asked for is not in the dump",
        "not everything in the dump could be read (problems: 2): entries are missing, policies at their strictest",
    ];
    assert_eq!(notes("10.0.0.2:80", &broken), json!(expected));
    let bare = |dump: &mut Value| {
        dump["certificates"] = Value::Null;
        dump["workloads"][0]["workloadIps"] = json!([]);
    };
    let expected = ["the source has no address in the dump: policies are asked as for 0.0.0.0"];
    assert_eq!(notes("10.0.0.2:80", &bare), json!(expected));
}

#[test]
fn who_or_what_is_not_there_is_named() {
    let error = |from: &str, to: &str| {
        let host = |dump: &mut Value| {
            let mut twin = dump["workloads"][2].clone();
            twin["uid"] = json!("other//Pod/shop/echo-1");
            twin["networkMode"] = json!("HostNetwork");
            twin["workloadIps"] = json!(["10.0.0.99"]);
            dump["workloads"].as_array_mut().unwrap().push(twin);
            dump["services"][3]["vips"] = json!(["n9/10.1.0.4"]);
        };
        answered(from, to, host).unwrap_err().to_string()
    };
    let nobody = error("shop/nobody", "1.2.3.4:5");
    assert!(nobody.starts_with("--from \"shop/nobody\": no workload has this uid"), "{nobody}");
    assert_eq!(
        error("shop/echo-1", "1.2.3.4:5"),
        "--from \"shop/echo-1\" is the name of several workloads: give the uid of one; there is k//Pod/shop/echo-1, \
         other//Pod/shop/echo-1"
    );
    assert_eq!(
        error("10.0.0.99", "1.2.3.4:5"),
        "--from 10.0.0.99: no workload of network \"n1\" owns this address; there is other//Pod/shop/echo-1"
    );
    assert_eq!(error("n2/10.0.0.1", "1.2.3.4:5").split("; ").last(), Some("there is k//Pod/shop/web-1"));
    assert_eq!(
        error("shop/web-1", "nowhere:80"),
        "--to \"nowhere\": no service of the mesh that the workload may see has this name; give an address for what is outside"
    );
    assert_eq!(
        error("shop/web-1", "waypoint:80"),
        "--to \"waypoint\" is service shop/waypoint.shop.svc.cluster.local, which has no address in the workload's network; \
         give an address"
    );
}

// Another seed may draw another endpoint, with its chances; the same one draws the same.
#[test]
fn seeds_draw() {
    let dump = undump::read(DUMP.replace("Failover", "Standard").as_bytes()).unwrap();
    let draw = |seed: u32| {
        let arguments = arguments(&["--from", "shop/web-1", "--to", "echo:80", "--seed", &seed.to_string()]);
        let report = answer(&dump, &arguments).unwrap().to_string();
        report.lines().find_map(|line| line.strip_prefix("peer        ")).unwrap().to_owned()
    };
    let draws: Vec<_> = (0..60).map(draw).collect();
    assert_eq!(draws, (0..60).map(draw).collect::<Vec<_>>());
    let often = draws.iter().filter(|peer| *peer == "k//Pod/shop/echo-2").count();
    assert!((35..60).contains(&often), "{often} of 60, expected 5 in 6");
}
