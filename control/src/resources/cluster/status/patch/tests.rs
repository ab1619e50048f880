use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const NOW: &str = "2026-01-02T03:04:05Z";
const LATER: &str = "2026-01-02T03:05:00Z";

fn wish(kind: &str, holds: bool, generation: i64) -> Wish {
    let reason = if holds { "Accepted" } else { "UnsupportedValue" };
    Wish { kind: kind.to_owned(), holds, reason: reason.to_owned(), message: String::new(), generation }
}

fn service(name: &str) -> Value {
    json!({"group": "", "kind": "Service", "name": name})
}

fn entries(entries: Vec<(Value, Vec<Wish>)>) -> Wanted {
    Wanted::Entries { entries, left: Vec::new() }
}

/// The status after a patch, as a server merges it.
fn apply(status: &Value, patch: Option<&Value>) -> Value {
    let mut status = status.as_object().cloned().unwrap_or_default();
    for (name, value) in patch.and_then(Value::as_object).into_iter().flatten() {
        status.insert(name.clone(), value.clone());
    }
    status.into()
}

fn parents(status: &Value, wanted: &Wanted, now: &str) -> Option<Value> {
    patch(Shape::Parents, status, "shop", wanted, now)
}

#[test]
fn a_first_status_is_written_whole() {
    let written = parents(&Value::Null, &entries(vec![(service("a"), vec![wish("Accepted", true, 3)])]), NOW);
    let condition = json!({
        "type": "Accepted", "status": "True", "observedGeneration": 3, "lastTransitionTime": NOW, "reason": "Accepted", "message": "",
    });
    let entry =
        json!({"parentRef": service("a"), "controllerName": "adit.dev/waypoint", "conditions": [condition]});
    assert_eq!(written, Some(json!({"parents": [entry]})));
    // Nothing to say, and nothing said.
    assert_eq!(parents(&Value::Null, &entries(Vec::new()), NOW), None);
    let policy =
        patch(Shape::Ancestors, &Value::Null, "shop", &entries(vec![(service("a"), Vec::new())]), NOW);
    assert_eq!(policy.unwrap()["ancestors"][0]["ancestorRef"], service("a"));
}

#[test]
fn the_time_of_a_condition_is_that_of_its_last_change() {
    let say = |holds, generation| entries(vec![(service("a"), vec![wish("Accepted", holds, generation)])]);
    let first = apply(&Value::Null, parents(&Value::Null, &say(true, 1), NOW).as_ref());
    assert_eq!(parents(&first, &say(true, 1), LATER), None);
    let edited = apply(&first, parents(&first, &say(true, 2), LATER).as_ref());
    let condition = &edited["parents"][0]["conditions"][0];
    assert_eq!(
        (&condition["observedGeneration"], &condition["lastTransitionTime"]),
        (&json!(2), &json!(NOW))
    );
    let refused = apply(&edited, parents(&edited, &say(false, 2), LATER).as_ref());
    assert_eq!(refused["parents"][0]["conditions"][0]["lastTransitionTime"], LATER);
}

#[test]
fn entries_of_ours_go_with_their_parents_and_others_stay() {
    let theirs = json!({"parentRef": service("b"), "controllerName": "istio.io/mesh-controller", "conditions": [], "x": 1});
    let ours =
        |name: &str| json!({"parentRef": service(name), "controllerName": CONTROLLER, "conditions": []});
    let status = json!({"parents": [ours("b"), theirs, ours("c"), ours("d")]});
    let wanted = Wanted::Entries { entries: vec![(service("d"), Vec::new())], left: vec![service("c")] };
    let written = parents(&status, &wanted, NOW).unwrap();
    assert_eq!(written, json!({"parents": [theirs, ours("c"), ours("d")]}));
    let gone = parents(&json!({"parents": [ours("b")]}), &entries(Vec::new()), NOW);
    assert_eq!(gone, Some(json!({"parents": []})));
}

/// The server fills in what a reference leaves out; `core` is the empty group.
#[test]
fn a_reference_is_known_again_however_it_is_written() {
    let kept = json!({"group": "", "kind": "Service", "namespace": "shop", "name": "a", "port": 80});
    let status = json!({"parents": [{"parentRef": kept, "controllerName": CONTROLLER, "conditions": []}]});
    for (written, same) in [
        (json!({"group": "", "kind": "Service", "name": "a", "port": 80}), true),
        (json!({"group": "core", "kind": "Service", "name": "a", "port": 80}), true),
        (json!({"group": "", "kind": "Service", "name": "a", "port": 81}), false),
        (json!({"group": "", "kind": "Service", "name": "a", "namespace": "b", "port": 80}), false),
        (json!({"group": "", "kind": "Service", "name": "a", "sectionName": "s", "port": 80}), false),
        (json!({"name": "a", "port": 80}), false),
    ] {
        assert_eq!(
            parents(&status, &entries(vec![(written.clone(), Vec::new())]), NOW).is_none(),
            same,
            "{written}"
        );
    }
}

#[test]
fn lists_are_no_longer_than_the_api_takes() {
    let theirs: Vec<_> = (0..31)
        .map(|n| json!({"parentRef": service(&n.to_string()), "controllerName": "x", "conditions": []}))
        .collect();
    let wanted = entries(vec![(service("a"), Vec::new()), (service("b"), Vec::new())]);
    let written = parents(&json!({"parents": theirs}), &wanted, NOW).unwrap();
    let list = written["parents"].as_array().unwrap();
    assert_eq!((list.len(), &list[31]["parentRef"]), (32, &service("a")));
    assert_eq!(parents(&written, &wanted, LATER), None);
}

#[test]
fn conditions_of_others_stay() {
    let theirs = json!({"type": "Reconciled", "status": "True", "lastProbeTime": null});
    let status = json!({"conditions": [theirs, {"type": "adit.dev/Accepted", "status": "True"}]});
    let say = |wishes| Wanted::Conditions { ours: &["adit.dev/Accepted"], wishes };
    let write = |wanted: &Wanted| patch(Shape::Conditions, &status, "shop", wanted, NOW);
    let written = write(&say(vec![wish("adit.dev/Accepted", false, 1)])).unwrap();
    assert_eq!(written["conditions"][0], theirs);
    assert_eq!(written["conditions"][1]["reason"], "UnsupportedValue");
    assert_eq!(write(&say(Vec::new())), Some(json!({"conditions": [theirs]})));
    let long = "é".repeat(MAX_MESSAGE);
    let wishes = vec![Wish { message: long, ..wish("adit.dev/Accepted", false, 1) }];
    let written = write(&say(wishes)).unwrap();
    assert_eq!(written["conditions"][1]["message"].as_str().map(str::len), Some(MAX_MESSAGE));
}

#[test]
fn a_gateway_tells_its_listeners_and_where_it_is() {
    let wishes = vec![wish("Accepted", true, 1), wish("Programmed", true, 1)];
    let addresses = json!([{"type": "Hostname", "value": "waypoint.shop.svc.cluster.local"}]);
    let listeners = vec![("mesh".to_owned(), vec![wish("Accepted", true, 1)])];
    let wanted = Wanted::Gateway { wishes, listeners, addresses: addresses.clone() };
    // As the API makes it.
    let status = json!({"conditions": [{"type": "Accepted", "status": "Unknown", "reason": "Pending", "lastTransitionTime": "1970-01-01T00:00:00Z"}]});
    let written = patch(Shape::Gateway, &status, "shop", &wanted, NOW).unwrap();
    assert_eq!(written["addresses"], addresses);
    assert_eq!(written["conditions"][0]["lastTransitionTime"], NOW);
    assert_eq!(written["listeners"][0]["name"], "mesh");
    let now = apply(&status, Some(&written));
    assert_eq!(patch(Shape::Gateway, &now, "shop", &wanted, LATER), None);
}

fn condition() -> impl Strategy<Value = Value> {
    (0..4_u8, any::<bool>(), 0..3_i64).prop_map(|(kind, holds, generation)| {
        json!({"type": format!("T{kind}"), "status": if holds { "True" } else { "False" }, "observedGeneration": generation,
               "lastTransitionTime": NOW, "reason": "Accepted", "message": ""})
    })
}

fn entry() -> impl Strategy<Value = Value> {
    (0..5_u8, 0..3_u8, vec(condition(), 0..4)).prop_map(|(name, controller, conditions)| {
        let controller = if controller == 0 { CONTROLLER.to_owned() } else { format!("other/{controller}") };
        json!({"parentRef": service(&name.to_string()), "controllerName": controller, "conditions": conditions})
    })
}

fn wishes() -> impl Strategy<Value = Vec<Wish>> {
    proptest::collection::btree_map(0..4_u8, (any::<bool>(), 0..3_i64), 0..4).prop_map(|all| {
        all.into_iter()
            .map(|(kind, (holds, generation))| wish(&format!("T{kind}"), holds, generation))
            .collect()
    })
}

proptest! {
    /// What has been written is not written again, whatever was there; entries of others stay, in their order; and each of ours
    /// says what it is to say.
    #[test]
    fn writing_is_idempotent_and_minds_others(
        present in vec(entry(), 0..8),
        wanted in proptest::collection::btree_map(0..5_u8, wishes(), 0..4),
        left in vec(0..5_u8, 0..3),
    ) {
        let status = json!({"parents": present});
        let all: Vec<_> = wanted.iter().map(|(name, wishes)| (service(&name.to_string()), wishes.clone())).collect();
        let left = left.into_iter().map(|name| service(&name.to_string())).collect();
        let wanted = Wanted::Entries { entries: all.clone(), left };
        let written = apply(&status, parents(&status, &wanted, LATER).as_ref());
        prop_assert_eq!(parents(&written, &wanted, "2027-01-01T00:00:00Z"), None);
        let others = |status: &Value| -> Vec<Value> {
            let list = status["parents"].as_array().cloned().unwrap_or_default();
            list.into_iter().filter(|entry| entry["controllerName"] != CONTROLLER).collect()
        };
        prop_assert_eq!(others(&written), others(&status));
        for (reference, wishes) in all {
            let list = written["parents"].as_array().unwrap();
            let ours = list.iter().find(|entry| entry["controllerName"] == CONTROLLER && entry["parentRef"] == reference);
            let conditions = ours.unwrap()["conditions"].as_array().unwrap();
            prop_assert_eq!(conditions.len(), wishes.len());
        }
    }
}
