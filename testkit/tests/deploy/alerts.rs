//! The alerts of the chart: every expression is one that a proxy's metrics answer, and says which labels its texts use.
use std::collections::BTreeSet;

use serde_json::Value;

use crate::exported::Exported;
use crate::promql::Query;
use crate::read;

fn rules() -> Vec<Value> {
    let file: Value = serde_yaml_ng::from_str(&read("deploy/chart/files/alerts.yaml")).expect("YAML");
    let groups = file["groups"].as_array().expect("groups");
    groups.iter().flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
}

#[test]
fn every_expression_is_answered_by_what_is_exported() {
    let exported = Exported::new();
    let mut faults = Vec::new();
    for rule in rules() {
        let expression = rule["expr"].as_str().expect("an expression");
        let query = Query::read(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
        faults.extend(query.faults(&exported).iter().map(|fault| format!("{}: {fault}", rule["alert"])));
        for text in rule["annotations"].as_object().expect("annotations").values() {
            let text = text.as_str().expect("text");
            let named = text.split("$labels.").skip(1).filter_map(|rest| rest.split([' ', '}']).next());
            let lost = named.filter(|label| !query.results_have(label, &exported));
            faults.extend(lost.map(|label| format!("{}: no {label} for the text", rule["alert"])));
        }
    }
    assert_eq!(faults, Vec::<String>::new());
}

#[test]
fn alerts_say_what_is_wrong_and_how_bad_it_is() {
    let rules = rules();
    let names: BTreeSet<&str> = rules.iter().filter_map(|rule| rule["alert"].as_str()).collect();
    assert!(rules.len() > 8 && names.len() == rules.len(), "two have one name: {names:?}");
    for rule in &rules {
        let severity = rule["labels"]["severity"].as_str().unwrap_or_default();
        assert!(["critical", "warning", "info"].contains(&severity), "{rule}");
        for text in ["summary", "description"] {
            assert!(rule["annotations"][text].as_str().is_some_and(|text| text.len() > 10), "{rule}");
        }
    }
}

#[test]
fn every_alert_has_its_place_in_the_guide() {
    let guide = read("docs/operations.md");
    for rule in rules() {
        let name = rule["alert"].as_str().expect("a name");
        assert!(
            guide.contains(&format!("`{name}`")),
            "docs/operations.md does not tell what to do at {name}"
        );
    }
}
