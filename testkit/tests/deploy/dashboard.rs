//! The Grafana dashboard: every query is one that a proxy's metrics answer.
use std::collections::BTreeSet;

use serde_json::Value;

use crate::exported::Exported;
use crate::promql::Query;
use crate::read;

fn dashboard() -> Value {
    serde_json::from_str(&read("deploy/dashboards/adit-node.json")).expect("JSON")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Every panel that shows something, with its targets.
fn panels(dashboard: &Value) -> Vec<(&Value, &Vec<Value>)> {
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    panels.filter_map(|panel| Some((panel, panel["targets"].as_array()?))).collect()
}

#[test]
fn every_query_is_answered_by_what_is_exported() {
    let (dashboard, exported) = (dashboard(), Exported::new());
    let mut faults = Vec::new();
    let mut queries = 0;
    for (panel, targets) in panels(&dashboard) {
        for target in targets {
            queries += 1;
            let expression = text(target, "expr");
            let query = Query::read(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
            faults.extend(query.faults(&exported).iter().map(|fault| format!("{}: {fault}", panel["title"])));
            let legend = text(target, "legendFormat");
            let named = legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next());
            let lost = named.filter(|label| !query.results_have(label.trim(), &exported));
            faults.extend(lost.map(|label| format!("{}: no {label} for the legend", panel["title"])));
        }
    }
    assert_eq!(faults, Vec::<String>::new());
    assert!(queries > 40, "only {queries} queries were found");
}

#[test]
fn every_metric_of_ours_is_shown() {
    let dashboard = read("deploy/dashboards/adit-node.json");
    let documented = read("docs/compatibility.md");
    let row = documented.lines().find(|line| line.starts_with("| metrics of ours")).expect("the row");
    let ours = row.split('`').skip(1).step_by(2);
    let missing: Vec<&str> = ours.filter(|metric| !dashboard.contains(metric)).collect();
    assert_eq!(missing, [""; 0], "docs/compatibility.md has them, the dashboard does not");
}

#[test]
fn variables_are_those_that_queries_use() {
    let (dashboard, exported) = (dashboard(), Exported::new());
    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    let names: BTreeSet<&str> = variables.iter().map(|variable| text(variable, "name")).collect();
    assert_eq!(names, ["datasource", "pod"].into());
    let pods = variables.iter().find(|variable| text(variable, "name") == "pod").expect("pod");
    let inside = text(pods, "query").strip_prefix("label_values(").and_then(|it| it.strip_suffix(", pod)"));
    let faults = Query::read(inside.expect("label_values of pod")).expect("a query").faults(&exported);
    assert_eq!(faults, [""; 0]);
    for (panel, targets) in panels(&dashboard) {
        assert_eq!(text(&panel["datasource"], "uid"), "${datasource}", "{}", panel["title"]);
        for target in targets {
            // Metrics of processes have the same names everywhere: without it, they are everybody's.
            assert!(text(target, "expr").contains("pod=~\"$pod\""), "{}", panel["title"]);
        }
    }
}

#[test]
fn panels_are_told_apart_and_do_not_overlap() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<u64> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len(), "two panels have one id");
    let mut taken = BTreeSet::new();
    for panel in panels {
        let side = |key: &str| panel["gridPos"][key].as_u64().expect("a number");
        assert!(side("x") + side("w") <= 24, "{}", panel["title"]);
        for x in side("x")..side("x") + side("w") {
            for y in side("y")..side("y") + side("h") {
                assert!(taken.insert((x, y)), "{} overlaps another", panel["title"]);
            }
        }
    }
}
