//! The chart's three lists of values agree: the defaults, the schema, and what values.yaml tells people.
use std::collections::BTreeSet;

use serde_json::Value;

use crate::read;

fn defaults() -> Value {
    serde_yaml_ng::from_str(&read("deploy/chart/files/defaults.yaml")).expect("YAML")
}

/// The keys of all maps of `value`, with dots between; maps that are empty are for whoever installs to fill.
fn paths(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let Some(map) = value.as_object() else { return found };
    for (key, inside) in map {
        let inside = paths(inside);
        if inside.is_empty() {
            found.insert(key.clone());
        }
        found.extend(inside.into_iter().map(|path| format!("{key}.{path}")));
    }
    found
}

/// The keys of a map of the schema.
fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().expect("a map").keys().cloned().collect()
}

#[test]
fn the_schema_lists_what_has_a_default_and_no_more() {
    let schema: Value = serde_json::from_str(&read("deploy/chart/values.schema.json")).expect("JSON");
    let definitions = &schema["definitions"];
    let ours = keys(&defaults());
    for (list, others) in
        [("values", vec!["_internal_defaults_do_not_set", "enabled", "global"]), ("global", vec![])]
    {
        let mut expected = ours.clone();
        expected.extend(others.into_iter().map(str::to_owned));
        assert_eq!(keys(&definitions[list]["properties"]), expected, "{list}");
    }
    assert_eq!(definitions["values"]["additionalProperties"], false);
    for (path, inside) in [("adit", &defaults()["adit"]), ("peerCaCrl", &defaults()["peerCaCrl"])] {
        assert_eq!(keys(&definitions[path]["properties"]), keys(inside), "{path}");
        assert_eq!(definitions[path]["additionalProperties"], false, "{path}");
    }
}

/// What is commented out there are the defaults themselves.
#[test]
fn the_values_that_people_read_are_the_defaults() {
    let told = read("deploy/chart/values.yaml");
    let (_, told) = told.split_once("\n# ---- ").expect("a first part");
    let lines = told.lines().filter_map(|line| line.strip_prefix("# "));
    // Values look like `key: …` or go on with more space or a dash; sentences do not.
    let is_value = |line: &&str| {
        let line = line.trim_start();
        let word = line.split(':').next().unwrap_or_default();
        let keyed = line.contains(':') && !word.is_empty() && !word.contains(' ');
        keyed || line.starts_with("- {")
    };
    let yaml: String = lines.filter(is_value).map(|line| format!("{line}\n")).collect();
    let told: Value = serde_yaml_ng::from_str(&yaml).unwrap_or_else(|error| panic!("{error} in\n{yaml}"));
    assert_eq!(paths(&told), paths(&defaults()));
    let differ: Vec<String> = keys(&told).into_iter().filter(|key| told[key] != defaults()[key]).collect();
    assert_eq!(differ, Vec::<String>::new());
}
