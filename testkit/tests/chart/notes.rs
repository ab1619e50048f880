//! What people are told after installing: Helm shows it to them alone, so the notes are rendered into an object here.
use std::fs;
use std::path::Path;
use std::process::Command;

use adit_testkit::netns::Scratch;
use serde_json::{Value, json};

use crate::objects::Objects;
use crate::root;

const OBJECT: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: notes}
data:
  notes: {{ tpl (.Files.Get \"notes\") . | toJson }}
";

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("a copy");
        }
    }
}

/// The notes with some values.
fn notes(values: &Value) -> String {
    let scratch = Scratch::new().expect("a folder");
    let chart = scratch.path().join("chart");
    copy(&root().join("deploy/chart"), &chart);
    fs::rename(chart.join("templates/NOTES.txt"), chart.join("notes")).expect("notes");
    fs::write(chart.join("templates/notes.yaml"), OBJECT).expect("an object");
    let values = scratch.write("values.yaml", &values.to_string()).expect("values");
    let mut command = Command::new("helm");
    command.args(["template", "ztunnel", "--namespace", "istio-system", "--kube-version", "1.33.0"]);
    let output = command.arg("--values").arg(values).arg(chart).output().expect("helm");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let objects = Objects::read(&String::from_utf8(output.stdout).expect("UTF-8"));
    objects.the("ConfigMap")["data"]["notes"].as_str().expect("text").to_owned()
}

#[test]
fn they_name_what_was_installed_and_what_is_left_to_do() {
    let plain = notes(&json!({}));
    assert!(plain.starts_with("DaemonSet istio-system/ztunnel runs adit-node:0.1.0.\n"), "{plain}");
    assert!(plain.trim_end().ends_with("rollout status daemonset/ztunnel"), "nothing is left to do: {plain}");
    for (values, expected) in [
        (json!({"hub": "r.example", "tag": "1.30"}), "say where Adit's is with\n`adit.image`"),
        (json!({"resourceName": "other"}), "`trustedZtunnelName: other`"),
        (
            json!({"global": {"meshID": "m", "proxy": {}, "hub": ""}}),
            "do nothing in this chart: meshID, proxy.\n",
        ),
    ] {
        let notes = notes(&values);
        assert!(notes.contains(expected), "{values}: {notes}");
    }
    let quiet = notes(
        &json!({"hub": "r.example", "resourceName": "o", "adit": {"image": "a", "serviceAccount": "s"}}),
    );
    assert_eq!(quiet.lines().count(), plain.lines().count(), "{quiet}");
}
