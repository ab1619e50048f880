//! What Helm makes of `deploy/chart` and `deploy/waypoint-chart`: objects that Kubernetes' own types hold without loss, in the shape
//! that istiod, istio-cni and istioctl expect, with an effect for each value of the upstream chart. `helm` must be on the PATH.

mod effects;
mod gateway;
mod notes;
mod objects;
#[cfg(feature = "root-tests")]
mod privileges;
mod shape;
mod typed;
mod waypoint;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use self::objects::Objects;

/// The folder of the workspace.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("testkit lies in the workspace")
}

/// The files of values that are tried, by name.
fn files() -> Vec<(String, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chart/values");
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("files of values")
        .map(|entry| entry.expect("a file").path())
        .map(|path| (path.file_stem().expect("a name").to_str().expect("UTF-8").to_owned(), path))
        .collect();
    files.sort();
    files
}

fn helm(arguments: &[&str]) -> Output {
    helm_on("deploy/chart", arguments)
}

/// Runs Helm on a chart.
fn helm_on(chart: &str, arguments: &[&str]) -> Output {
    // The oldest Kubernetes whose types we have.
    let mut command = Command::new("helm");
    command.args(arguments).arg(root().join(chart)).args(["--kube-version", "1.33.0"]);
    command.output().expect("helm is on the PATH: .ci/run puts it into target/ci-tools/bin")
}

/// What a release called `ztunnel` in `istio-system` consists of with further arguments; else what Helm says.
fn template(arguments: &[&str]) -> Result<Objects, String> {
    let fixed = ["template", "ztunnel", "--namespace", "istio-system"];
    let output = helm(&[&fixed[..], arguments].concat());
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(Objects::read(&String::from_utf8(output.stdout).expect("UTF-8")))
}

/// With one of [`files`].
fn with_file(name: &str) -> Objects {
    let (_, path) = files().into_iter().find(|file| file.0 == name).expect("such a file");
    template(&["--values", path.to_str().expect("UTF-8")]).expect("it renders")
}

/// With values in JSON, such as `{"network": "n1"}`.
fn with(values: &Value) -> Result<Objects, String> {
    let sets: Vec<String> =
        values.as_object().expect("a map").iter().map(|(key, value)| format!("{key}={value}")).collect();
    let arguments: Vec<&str> = sets.iter().flat_map(|set| ["--set-json", set]).collect();
    template(&arguments)
}

#[test]
fn helm_has_nothing_to_say_of_it() {
    let mut values = vec![vec!["lint", "--strict"]];
    let files = files();
    let paths = files.iter().map(|(_, path)| path.to_str().expect("UTF-8"));
    values.extend(paths.map(|path| vec!["lint", "--strict", "--values", path]));
    for arguments in values {
        let output = helm(&arguments);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
        assert!(!said.contains("[WARNING]"), "{arguments:?}: {said}");
    }
}

#[test]
fn values_that_there_are_not_are_refused_by_name() {
    for (values, named) in [
        (serde_json::json!({"hubb": "x"}), "hubb"),
        (serde_json::json!({"adit": {"imagee": "x"}}), "imagee"),
        (serde_json::json!({"updateStrategy": {"rollingUpdate": {"surge": 1}}}), "surge"),
        (serde_json::json!({"_internal_defaults_do_not_set": {"hubb": "x"}}), "hubb"),
        // The upstream chart refuses it, too.
        (serde_json::json!({"defaults": {"hub": "x"}}), "defaults"),
        (serde_json::json!({"global": {"logAsJson": "yes"}}), "/global/logAsJson"),
        (serde_json::json!({"profile": "moon"}), "/profile"),
        (serde_json::json!({"platform": "moon"}), "/platform"),
        (serde_json::json!({"compatibilityVersion": "moon"}), "/compatibilityVersion"),
        (serde_json::json!({"terminationGracePeriodSeconds": "soon"}), "/terminationGracePeriodSeconds"),
        (serde_json::json!({"adit": {"handoverPath": "relative"}}), "/adit/handoverPath"),
    ] {
        let error = with(&values).expect_err("it must be refused");
        assert!(error.contains(named), "{values}: {error}");
    }
}
