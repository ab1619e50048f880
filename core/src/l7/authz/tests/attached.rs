//! Which policies bear on which destination.
use super::*;

#[test]
fn policies_bear_on_what_they_are_for() {
    let reviews = service("shop", "reviews.shop.svc.cluster.local", "reviews");
    let other = service("shop", "other.shop.svc.cluster.local", "other");
    let entry = service("shop", "api.example.com", "reviews");
    let far = service("far", "reviews.far.svc.cluster.local", "reviews");
    let asked = Request::get("/");
    let subject = Subject::http(connection(None), http(&asked, None));
    let denied = |target: &Target, of: Option<&Service>| {
        let policy =
            Policy { targets: vec![target.clone()], ..policy("p", Action::Deny, vec![Rule::default()]) };
        let policies = Policies::new([policy]);
        let set = policies.of(of);
        let explained = set.explain(&subject);
        assert_eq!(explained.consulted.is_empty(), set.is_empty());
        set.judge(&subject).verdict.is_deny()
    };
    let named = Target::Service(reviews.name.clone());
    let of_entry = Target::ServiceEntry { namespace: "shop".into(), name: "reviews".into() };
    // By target: the service, another of the namespace, a ServiceEntry of the same name, another namespace's, a workload.
    for (target, expected) in [
        (Target::Class, [true; 5]),
        (Target::Gateway, [true; 5]),
        (Target::Namespace("shop".into()), [true, true, true, false, false]),
        (named, [true, false, false, false, false]),
        (of_entry, [false, false, true, false, false]),
    ] {
        let found =
            [Some(&reviews), Some(&other), Some(&entry), Some(&far), None].map(|of| denied(&target, of));
        assert_eq!(found, expected, "{target}");
    }
}

#[test]
fn a_policy_for_several_targets_counts_once() {
    let reviews = service("shop", "reviews.shop.svc.cluster.local", "reviews");
    let named = || Target::Service(reviews.name.clone());
    let asked = Request::get("/");
    let subject = Subject::http(connection(None), http(&asked, None));
    for targets in [
        vec![named(), Target::Gateway],
        vec![Target::Class, Target::Gateway, Target::Namespace("shop".into())],
        vec![named(), named(), Target::Namespace("shop".into())],
    ] {
        let policy = Policy { targets, ..policy("p", Action::Audit, vec![Rule::default()]) };
        let policies = Policies::new([policy]);
        let told: Vec<_> =
            policies.of(Some(&reviews)).explain(&subject).consulted.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 1);
        assert!(
            told[0].starts_with("ns/p: AUDIT, for ") && told[0].ends_with(": rule 0 matches"),
            "{told:?}"
        );
    }
}
