//! The guide for operators: what was not run says so, and every variable, metric and folder in it exists.
use std::path::Path;
use std::process::Command;

use crate::exported::Exported;
use crate::{read, root};

/// The blocks of a language in a document.
pub(crate) fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let fences = text.split(&fence).skip(1);
    fences.map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

/// All words in backticks.
pub(crate) fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with("```")).flat_map(|line| line.split('`').skip(1).step_by(2))
}

#[test]
fn commands_that_need_a_cluster_say_so() {
    let guide = read("docs/operations.md");
    let (cluster, here): (Vec<String>, Vec<String>) =
        blocks(&guide, "sh").into_iter().partition(|block| block.starts_with("# needs a cluster\n"));
    assert!(cluster.len() > 4 && here.len() > 4, "{} and {}", cluster.len(), here.len());
    for block in here {
        for line in block.lines().filter(|line| !line.is_empty()) {
            // Behind variables that are set for the command.
            let word = line.split_whitespace().find(|word| !word.contains('='));
            let runs = ["adit-node", "cargo", "chroot", "curl", "deploy/image/assemble", "export", "helm"];
            assert!(word.is_none_or(|word| runs.contains(&word)), "could this be run? {line}");
            assert!(!line.starts_with("helm") || line.starts_with("helm template"), "{line}");
        }
    }
}

/// `NAME` and `NAME=value`, of letters that variables have.
#[test]
fn variables_are_those_that_there_are() {
    let guide = read("docs/operations.md");
    let known = [read("node-proxy/src/cli/help.rs"), read("docs/compatibility.md")].concat();
    let names = quoted(&guide).map(|word| word.split('=').next().unwrap_or_default());
    let is_name = |name: &&str| {
        name.len() > 6
            && name.contains('_')
            && name.bytes().all(|byte| byte == b'_' || byte.is_ascii_uppercase())
    };
    // Capabilities, and istiod's.
    let others = ["NET_ADMIN", "NET_RAW", "SYS_ADMIN", "PILOT_ENABLE_AMBIENT"];
    let mut checked = 0;
    for name in names.filter(is_name).filter(|name| !others.contains(name)) {
        checked += 1;
        assert!(known.contains(name), "docs/operations.md: {name} means nothing");
    }
    assert!(checked > 20, "only {checked} were found");
}

#[test]
fn metrics_are_those_that_there_are() {
    let (guide, exported) = (read("docs/operations.md"), Exported::new());
    let prefixes = ["istio_", "adit_", "workload_manager_", "process_"];
    let named = quoted(&guide).filter(|word| prefixes.iter().any(|prefix| word.starts_with(prefix)));
    let unknown: Vec<&str> =
        named.filter(|word| !prefixes.contains(word) && exported.labels(word).is_none()).collect();
    assert_eq!(unknown, [""; 0]);
}

/// The values that it tells people to write are the file that the chart's tests render.
#[test]
fn the_values_beside_ztunnel_are_those_that_are_tested() {
    let guide = read("docs/operations.md");
    let tested = read("testkit/tests/chart/values/beside.yaml");
    let tested: String = tested.lines().skip(1).map(|line| format!("{line}\n")).collect();
    assert!(blocks(&guide, "yaml").contains(&tested), "{tested}");
}

#[test]
fn the_mesh_of_the_guide_can_be_read() {
    let guide = read("docs/operations.md");
    let mesh = blocks(&guide, "yaml").into_iter().find(|block| block.starts_with("# mesh.yaml"));
    let mesh = mesh.expect("a mesh");
    adit_control::local::parse(Path::new("mesh.yaml"), &mesh, "").expect("it is one");
}

/// Headings that the table of contents names exist; so does every path.
#[test]
fn links_lead_somewhere() {
    let guide = read("docs/operations.md");
    let anchors: Vec<String> = guide
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|title| title.to_lowercase().replace(' ', "-").replace(['\'', '`'], ""))
        .collect();
    for link in guide.split("](#").skip(1).filter_map(|rest| rest.split(')').next()) {
        assert!(anchors.iter().any(|anchor| anchor == link), "{link}: {anchors:?}");
    }
    for path in quoted(&guide).filter(|word| word.starts_with("deploy/")) {
        assert!(root().join(path).exists(), "{path} is not there");
    }
}

/// The script of the image is one that a shell reads without complaint.
#[test]
fn scripts_are_shell() {
    let output = Command::new("sh").arg("-n").arg(root().join("deploy/image/assemble")).output();
    assert!(output.expect("a shell").status.success());
}
