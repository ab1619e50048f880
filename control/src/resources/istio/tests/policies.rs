//! `AuthorizationPolicy`: the tables of waypoint.md §11.
use adit_core::l7::authz::Denial;

use super::*;
use crate::resources::Severity;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    rule: serde_json::Value,
    #[serde(default)]
    closed: bool,
    #[serde(default)]
    hits: Vec<Asked>,
    #[serde(default)]
    misses: Vec<Asked>,
}

const TARGET: &str = "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: waypoint}]";

fn policy(spec: &str) -> String {
    document("AuthorizationPolicy", "shop", "p", &format!("{{{TARGET}, {spec}}}"))
}

#[test]
fn every_field_of_a_rule() {
    let rows: Vec<Row> = serde_yaml_ng::from_str(include_str!("rules.yaml")).unwrap();
    assert!(rows.len() > 55);
    let aliases = config("trustDomainAliases: [old]");
    for Row { rule, closed, hits, misses } in rows {
        let with = |action: &str| {
            let compiled =
                compiled(&[&*aliases, &policy(&format!("action: {action}, rules: [{rule}]"))].concat());
            assert_eq!(compiled.problems.is_empty(), !closed, "{rule}: {:?}", compiled.problems);
            compiled.snapshot
        };
        let (allow, deny) = (with("ALLOW"), with("DENY"));
        for asked in &hits {
            assert_eq!(verdict(&allow, None, asked).is_deny(), closed, "ALLOW {rule} {asked:?}");
            assert!(verdict(&deny, None, asked).is_deny(), "DENY {rule} {asked:?}");
        }
        for asked in &misses {
            assert!(verdict(&allow, None, asked).is_deny(), "ALLOW {rule} {asked:?}");
            assert!(!verdict(&deny, None, asked).is_deny(), "DENY {rule} {asked:?}");
        }
    }
}

// waypoint.md §11.4, §11.5.
#[test]
fn actions_and_rules_that_are_not_there() {
    for (specs, denied, problems) in [
        (&[][..], false, 0),
        (&["{}"][..], true, 0),
        (&["action: ALLOW"], true, 0),
        (&["rules: []"], true, 0),
        (&["rules: [{}]"], false, 0),
        (&["action: DENY"], false, 1),
        (&["action: DENY, rules: [{}]"], true, 0),
        (&["action: AUDIT, rules: [{}]"], false, 0),
        (&["rules: [{}]", "action: DENY, rules: [{}]"], true, 0),
        (&["rules: [{to: [{operation: {methods: [POST]}}]}]", "rules: [{}]"], false, 0),
        // What cannot be read refuses everything.
        (&["action: allow, rules: [{}]"], true, 2),
        (&["action: 7"], true, 2),
        (&["rule: [{}], action: DENY"], true, 2),
        (&["rules: 7, action: DENY"], true, 2),
        (&["rules: [{}], provider: {name: opa}"], true, 2),
        // So does a CUSTOM policy that nobody answers for, but later: it is not AUDIT, DENY or ALLOW.
        (&["action: CUSTOM, rules: [{}], provider: {name: nobody}"], false, 1),
    ] {
        let texts = specs.iter().enumerate().map(|(place, spec)| {
            let spec = if *spec == "{}" { format!("{{{TARGET}}}") } else { format!("{{{TARGET}, {spec}}}") };
            document("AuthorizationPolicy", "shop", &format!("p{place}"), &spec)
        });
        let compiled = compiled(&texts.collect::<String>());
        assert_eq!(compiled.problems.len(), problems, "{specs:?}: {:?}", compiled.problems);
        let verdict = verdict(&compiled.snapshot, None, &Asked::default());
        assert_eq!(verdict.is_deny(), denied, "{specs:?}");
    }
}

#[test]
fn a_policy_on_trial_is_not_enforced() {
    let with = |value: &str| {
        let text = policy("action: DENY, rules: [{}]");
        let annotated = format!("{{name: p, namespace: shop, annotations: {{istio.io/dry-run: {value:?}}}}}");
        let compiled = compiled(&text.replace("{name: p, namespace: shop}", &annotated));
        (verdict(&compiled.snapshot, None, &Asked::default()).is_deny(), compiled.problems.len())
    };
    assert_eq!(with("true"), (false, 0));
    assert_eq!(with("false"), (true, 0));
    assert_eq!(with("yes"), (true, 1));
}

// waypoint.md §11.1–11.3.
#[test]
fn what_policies_are_for() {
    let (own, other, far) = (service("shop", "web"), service("shop", "db"), service("far", "web"));
    let mut entry = service("shop", "api");
    entry.name.hostname = "api.example.com".into();
    let long = (0..17).map(|n| format!("{{kind: Service, name: s{n}}}")).collect::<Vec<_>>().join(", ");
    let gateway = "group: gateway.networking.k8s.io, kind: Gateway";
    let class = "group: gateway.networking.k8s.io, kind: GatewayClass";
    let refs = |refs: &str| format!("targetRefs: [{refs}]");
    use Severity::{Malformed, Note, Unsupported};
    // In namespace, targets: whether it denies the service, another, a ServiceEntry, one of another namespace, a workload;
    // and the worst that is said of it.
    for (namespace, targets, denied, worst) in [
        ("shop", refs("{kind: Service, name: web}"), [true, false, false, false, false], None),
        ("shop", refs("{group: core, kind: Service, name: web}"), [true, false, false, false, false], None),
        ("shop", "targetRef: {kind: Service, name: web}".into(), [true, false, false, false, false], None),
        (
            "shop",
            refs("{kind: Service, name: web}, {kind: Service, name: db}"),
            [true, true, false, false, false],
            None,
        ),
        ("far", refs("{kind: Service, name: web}"), [false, false, false, true, false], None),
        (
            "shop",
            refs("{group: networking.istio.io, kind: ServiceEntry, name: api}"),
            [false, false, true, false, false],
            None,
        ),
        ("shop", refs(&format!("{{{gateway}, name: waypoint}}")), [true; 5], None),
        ("shop", refs(&format!("{{{gateway}, name: other}}")), [false; 5], None),
        ("far", refs(&format!("{{{gateway}, name: waypoint}}")), [false; 5], None),
        ("istio-system", refs(&format!("{{{class}, name: adit-waypoint}}")), [true; 5], None),
        ("istio-system", refs(&format!("{{{class}, name: istio-waypoint}}")), [false; 5], Some(Note)),
        ("shop", refs(&format!("{{{class}, name: adit-waypoint}}")), [false; 5], Some(Malformed)),
        ("shop", "selector: {matchLabels: {app: web}}".into(), [false; 5], Some(Note)),
        ("istio-system", "rules: [{}]".into(), [false; 5], Some(Note)),
        ("shop", refs("{kind: Service, name: web, namespace: far}"), [false; 5], Some(Malformed)),
        ("shop", refs("{group: apps, kind: Deployment, name: web}"), [false; 5], Some(Unsupported)),
        // What makes no sense refuses, whatever else the policy says: here nothing.
        (
            "shop",
            format!("selector: {{}}, {}, rules: []", refs("{kind: Service, name: web}")),
            [true, false, false, false, false],
            Some(Malformed),
        ),
        (
            "shop",
            format!(
                "targetRef: {{kind: Service, name: web}}, {}, rules: []",
                refs("{kind: Service, name: db}")
            ),
            [true, true, false, false, false],
            Some(Malformed),
        ),
        (
            "shop",
            format!("{}, rules: []", refs(&long.replace("s0", "web"))),
            [true, false, false, false, false],
            Some(Malformed),
        ),
        ("shop", format!("{}, rules: []", refs("{kind: Service}")), [true; 5], Some(Malformed)),
        (
            "far",
            format!("{}, rules: []", refs("{kind: Service}")),
            [false, false, false, true, false],
            Some(Malformed),
        ),
        ("shop", "targetRefs: {kind: Service}, rules: []".into(), [true; 5], Some(Malformed)),
    ] {
        let rules = if targets.contains("rules:") { "" } else { ", rules: [{}]" };
        let text =
            document("AuthorizationPolicy", namespace, "p", &format!("{{action: DENY, {targets}{rules}}}"));
        let compiled = compiled(&text);
        let found = [Some(&own), Some(&other), Some(&entry), Some(&far), None]
            .map(|service| verdict(&compiled.snapshot, service, &Asked::default()).is_deny());
        assert_eq!(found, denied, "{namespace} {targets}: {:?}", compiled.problems);
        let severities = compiled.problems.iter().map(|problem| problem.severity);
        assert_eq!(severities.max(), worst, "{namespace} {targets}: {:?}", compiled.problems);
    }
}

// waypoint.md §11.8.
#[test]
fn on_plain_tcp_rules_on_http_admit_nobody_and_refuse_more() {
    let tcp = |port| Asked { tcp: true, port: Some(port), ..Asked::default() };
    let rule = "rules: [{to: [{operation: {methods: [POST], ports: [\"80\"]}}]}]";
    let allow = compiled(&policy(rule)).snapshot;
    let deny = compiled(&policy(&format!("action: DENY, {rule}"))).snapshot;
    assert!(verdict(&allow, None, &tcp(80)).is_deny());
    assert!(verdict(&deny, None, &tcp(80)).is_deny());
    assert!(!verdict(&deny, None, &tcp(81)).is_deny());
}

#[test]
fn a_denial_names_the_policy_and_its_rule() {
    let deny =
        compiled(&policy("action: DENY, rules: [{to: [{operation: {methods: [POST]}}]}, {}]")).snapshot;
    let Verdict::Deny(denial) = verdict(&deny, None, &Asked::default()) else { panic!() };
    assert_eq!(denial.details(), "rbac_access_denied_matched_policy[ns[shop]-policy[p]-rule[1]]");
    assert!(matches!(denial, Denial::Explicit(_)));
}

#[test]
fn the_number_of_trusted_proxies_is_the_meshs() {
    let hops = |value: &str| {
        let text = config(&format!("defaultConfig: {{gatewayTopology: {{numTrustedProxies: {value}}}}}"));
        let compiled = compiled(&text);
        (compiled.snapshot.trusted_hops, compiled.problems.len())
    };
    assert_eq!(hops("2"), (2, 0));
    assert_eq!(hops("-1"), (0, 1));
    assert_eq!(hops("two"), (0, 1));
}
