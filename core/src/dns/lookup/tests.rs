//! Tables of names: Kubernetes forms, wildcards, suffixes, search domains (the last bullet of datapath §7.8).
use std::string::ToString;
use std::vec;

use super::*;
use crate::dns::kubernetes_search;

fn forms(name: &str) -> Vec<String> {
    kubernetes_forms(name, "ns", "cluster.local")
}

#[test]
fn kubernetes_forms_by_number_of_labels() {
    for (name, expected) in [
        ("x", vec!["x.ns.svc.cluster.local"]),
        ("a.b", vec!["a.b.svc.cluster.local", "a.b.ns.svc.cluster.local"]),
        ("a.b.c", vec!["a.b.c.svc.cluster.local"]),
        ("a.b.svc", vec!["a.b.svc.cluster.local", "a.b.svc.svc.cluster.local"]),
        ("a.b.c.svc", vec!["a.b.c.svc.cluster.local"]),
        ("a.b.c.d", vec![]),
        ("a.b.c.d.svc", vec![]),
    ] {
        assert_eq!(forms(name), expected, "{name}");
    }
}

#[test]
fn wildcards_get_shorter_down_to_the_last_label() {
    assert_eq!(wildcards("a.b.c").collect::<Vec<_>>(), ["*.b.c", "*.c"]);
    assert_eq!(wildcards("a").count(), 0);
}

#[test]
fn suffixes() {
    for (name, domain, expected) in [
        ("a.b.c", "b.c", Some("a")),
        ("a.b.c", "C", Some("a.b")),
        ("a.b.c", "c.", Some("a.b")),
        // Nothing would be left, only part of a label would go, a wildcard, nothing to take off.
        ("b.c", "b.c", None),
        ("ab.c", "b.c", None),
        (".c", "c", None),
        ("a.b.c", "*.c", None),
        ("a.b.c", "", None),
        ("a.b.c", "d", None),
        ("c", "a.b.c", None),
    ] {
        assert_eq!(strip_domain(name, domain), expected, "{name} without {domain}");
    }
}

#[test]
fn a_pods_search_domains() {
    let search = kubernetes_search("ns1", "cluster.local");
    assert_eq!(
        search.each_ref().map(|domain| &**domain),
        ["ns1.svc.cluster.local", "svc.cluster.local", "cluster.local"]
    );
}

#[test]
fn aliases_in_order_and_without_duplicates() {
    let search = kubernetes_search("ns1", "d");
    let client = Client { namespace: "ns1", network: "", cluster: "", search: &search };
    let names = Names { client: &client, domain: "d", preferred: None };
    let aliases = |name: &str| -> Vec<(String, Option<usize>)> {
        names.aliases(name).into_iter().map(|alias| (alias.name, alias.stripped)).collect()
    };
    let expect = |list: &[(&str, Option<usize>)]| -> Vec<(String, Option<usize>)> {
        list.iter().map(|(name, stripped)| (name.to_string(), *stripped)).collect()
    };
    assert_eq!(aliases("x"), expect(&[("x", None), ("x.ns1.svc.d", None)]));
    assert_eq!(
        aliases("x.ns1.svc.d"),
        expect(&[
            ("x.ns1.svc.d", None),
            // Without ns1.svc.d; its own form is the first one again.
            ("x", Some(1)),
            // Without svc.d.
            ("x.ns1", Some(2)),
            ("x.ns1.ns1.svc.d", Some(2)),
            // Without d.
            ("x.ns1.svc", Some(3)),
            ("x.ns1.svc.svc.d", Some(3)),
        ])
    );
}
