//! Policies of backends (waypoint.md §10.11, §10.12).
use adit_core::l7::{PeerName, Target, TlsRule, TrustAnchors};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

use super::*;

fn authority() -> String {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
}

fn config_map(pem: &str) -> String {
    let pem = pem.trim().replace('\n', "\n    ");
    format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: ca, namespace: {NS}}}\ndata:\n  ca.crt: |\n    {pem}\n"
    )
}

fn policy(name: &str, target: &str, validation: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata: {{name: {name}, namespace: {NS}}}\nspec:\n  targetRefs: [{{group: '', kind: Service, {target}}}]\n  validation: {{{validation}}}\n"
    )
}

const REFS: &str = "caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}], hostname: abc.example.com";

fn of(given: &Given, service: &str, port: u16) -> Option<TlsRule> {
    let service = World::new(NS, "waypoint").service(NS, service);
    given.compiled.snapshot.backend_tls.of(&Target { service, port }).cloned()
}

#[test]
fn tls_is_spoken_as_the_policy_says() {
    let pem = authority();
    let given = given(&(config_map(&pem) + &policy("p", "name: echo", REFS))).fine();
    let tls = of(&given, "echo", 80).unwrap().unwrap();
    assert_eq!(&*tls.server_name, "abc.example.com");
    assert_eq!(tls.names, [PeerName::Hostname("abc.example.com".into())]);
    assert!(matches!(&tls.anchors, TrustAnchors::These(certificates) if certificates.len() == 1));
    assert_eq!(of(&given, "echo-v1", 80), None);
    assert_eq!(given.status("p"), (true, Reason::Accepted, Reason::ResolvedRefs, false));
    let names = "wellKnownCACertificates: System, hostname: A.example.com, \
                 subjectAltNames: [{type: Hostname, hostname: '*.example.com'}, {type: URI, uri: 'spiffe://x/y'}]";
    let given = super::given(&policy("p", "name: echo, sectionName: https", names)).fine();
    let tls = of(&given, "echo", 443).unwrap().unwrap();
    assert_eq!((&*tls.server_name, &tls.anchors), ("a.example.com", &TrustAnchors::System));
    assert_eq!(tls.names, [PeerName::Hostname("*.example.com".into()), PeerName::Uri("spiffe://x/y".into())]);
    assert_eq!(of(&given, "echo", 80), None);
    let secret = format!(
        "---\n{{apiVersion: v1, kind: Secret, metadata: {{name: ca, namespace: {NS}}}, data: {{ca.crt: {}}}}}\n",
        {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.encode(&pem)
        }
    );
    let given =
        super::given(&(secret + &policy("p", "name: echo", &REFS.replace("ConfigMap", "Secret")))).fine();
    assert!(of(&given, "echo", 80).unwrap().is_ok());
}

#[test]
fn a_policy_that_cannot_be_honoured_makes_connections_fail() {
    let empty = config_map("nothing");
    let broken = config_map("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----");
    let good = config_map(&authority());
    for (map, validation, said) in [
        ("", REFS, "with the key ca.crt is not among the resources"),
        (&*empty, REFS, "has no certificate"),
        (&broken, REFS, "ca.crt of ConfigMap"),
        (&good, &REFS.replace("ConfigMap", "Deployment"), "expected a ConfigMap or a Secret"),
        (&good, &format!("{REFS}, wellKnownCACertificates: System"), "and not both"),
        (&good, "hostname: a.b", "expected caCertificateRefs or"),
        (&good, "wellKnownCACertificates: Mine, hostname: a.b", "expected System"),
        (&good, "wellKnownCACertificates: System, hostname: '*.b'", "without a wildcard"),
        (&good, "wellKnownCACertificates: System", "missing field `hostname`"),
        (
            &good,
            "wellKnownCACertificates: System, hostname: a.b, subjectAltNames: [{type: IP}]",
            "expected type Hostname",
        ),
        (&good, "wellKnownCACertificates: System, hostname: a.b, pins: []", "no such field is known"),
        (&good, "wellKnownCACertificates: System, hostname: a.b}\n  options: {x: y", "x is not supported"),
    ] {
        let given = given(&(map.to_owned() + &policy("p", "name: echo", validation)));
        given.one_problem(said);
        assert!(of(&given, "echo", 80).unwrap().is_err(), "{validation}");
        assert!(!given.status("p").0, "{validation}");
    }
    let unreadable = given(
        &policy("p", "name: echo, extra: {}", "hostname: a.b").replace("targetRefs: [", "targetRefs: [7, "),
    );
    assert!(of(&unreadable, "echo", 80).unwrap().is_err());
}

#[test]
fn the_more_specific_and_then_the_oldest_policy_counts() {
    let system = |host: &str| format!("wellKnownCACertificates: System, hostname: {host}");
    let old = policy("z", "name: echo", &system("old.a"))
        .replace("name: z,", "name: z, creationTimestamp: '2020-01-01T00:00:00Z',");
    let aged = |name: &str, target: &str, host: &str| {
        policy(name, target, &system(host)).replace(
            &format!("name: {name},"),
            &format!("name: {name}, creationTimestamp: '2021-01-01T00:00:00Z',"),
        )
    };
    let manifests =
        aged("a", "name: echo", "new.a") + &old + &aged("s", "name: echo, sectionName: https", "port.a");
    let given = given(&manifests);
    given.one_problem("Conflicted: an older policy");
    let name = |port| of(&given, "echo", port).unwrap().unwrap().server_name.clone();
    assert_eq!([&*name(80), &*name(443)], ["old.a", "port.a"]);
    assert_eq!((given.status("a").1, given.status("z").1), (Reason::Conflicted, Reason::Accepted));
}

#[test]
fn targets_that_are_none_are_told_and_a_port_that_cannot_be_known_fails() {
    let system = "wellKnownCACertificates: System, hostname: a.b";
    let none = given(&policy("p", "name: echo, sectionName: web", system));
    none.one_problem("no port of the name web");
    assert_eq!((none.status("p").1, of(&none, "echo", 80)), (Reason::TargetNotFound, None));
    // What is given may not be all: nothing goes out in plaintext for that.
    let gone = given(&policy("p", "name: gone", system));
    gone.one_problem("TargetNotFound: Service gateway-conformance-mesh/gone is not among the resources");
    assert!(gone.status("p").1 == Reason::TargetNotFound && of(&gone, "gone", 80).unwrap().is_ok());
    let unknown = alone(&policy("p", "name: echo, sectionName: https", system));
    unknown.one_problem("add the Service to the resources");
    assert!(of(&unknown, "echo", 80).unwrap().is_err());
}

#[test]
fn retry_budgets_are_read() {
    let policy = |spec: &str| {
        format!(
            "---\n{{apiVersion: gateway.networking.x-k8s.io/v1alpha1, kind: XBackendTrafficPolicy, metadata: {{name: b, namespace: {NS}}}, spec: {{targetRefs: [{{group: '', kind: Service, name: echo}}], {spec}}}}}\n"
        )
    };
    let budget = |given: &Given| {
        let echo = World::new(NS, "waypoint").service(NS, "echo");
        let settled = given.compiled.snapshot.destinations.settle(&echo, 80, None).unwrap();
        settled.policy.retries.map(|share| (share.percent, share.min))
    };
    let given = given(&policy("retryConstraint: {budget: {percent: 40}, minRetryRate: {count: 5}}")).fine();
    assert_eq!(budget(&given), Some((40, 5)));
    let given = super::given(&policy("retryConstraint: {}")).fine();
    assert_eq!(budget(&given), Some((20, 10)));
    super::given(&policy("retryConstraint: {budget: {interval: 5s}}")).one_problem("has no effect");
    let bad = super::given(&policy("retryConstraint: {budget: {percent: 101}}"));
    bad.one_problem("expected 0 to 100");
    assert_eq!(budget(&bad), None);
    super::given(&policy("sessionPersistence: {}")).one_problem("not supported on services");
}
