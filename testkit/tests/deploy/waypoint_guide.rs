//! The guide of the waypoint: its mesh can be read, its manifests are honoured whole, and what was not run says so.
use std::path::Path;
use std::sync::Arc;

use adit_control::resources::{Objects, World, compile, documents};

use crate::guide::{blocks, quoted};
use crate::{read, root};

const GUIDE: &str = "docs/waypoint.md";

/// The blocks of YAML, by the file that each is to be.
fn files() -> Vec<(String, String)> {
    let named = |block: String| {
        let (first, _) = block.split_once('\n').expect("lines");
        (first.trim_start_matches("# ").to_owned(), block)
    };
    blocks(&read(GUIDE), "yaml").into_iter().map(named).collect()
}

#[test]
fn the_mesh_of_the_guide_can_be_read() {
    let (_, mesh) = files().into_iter().find(|file| file.0 == "mesh.yaml").expect("a mesh");
    let mesh = adit_control::local::parse(Path::new("mesh.yaml"), &mesh, "").expect("it is one");
    assert_eq!((mesh.workloads().count(), mesh.services().count()), (4, 3));
}

#[test]
fn nothing_in_the_manifests_is_left_out() {
    let manifests: Vec<_> = files().into_iter().filter(|file| file.0.starts_with("manifests/")).collect();
    assert!(manifests.len() > 4, "{manifests:?}");
    for (name, text) in manifests {
        let objects: Objects =
            documents::read(&text, false).expect("objects").into_iter().map(Arc::new).collect();
        let compiled = compile(&objects, &World::new("shop", "waypoint"));
        let problems: Vec<String> = compiled.problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems, Vec::<String>::new(), "{name}");
    }
}

#[test]
fn commands_that_need_a_cluster_say_so() {
    let runs = [
        "PROXY_WORKLOAD_INFO=",
        "cargo ",
        "curl ",
        "export ",
        "for ",
        "helm template ",
        "mkdir ",
        "python3 ",
    ];
    for block in blocks(&read(GUIDE), "sh") {
        if block.starts_with("# needs a cluster\n") {
            continue;
        }
        for line in block.lines() {
            assert!(runs.iter().any(|start| line.starts_with(start)), "could this be run? {line}");
        }
    }
}

#[test]
fn links_lead_somewhere() {
    let guide = read(GUIDE);
    let anchors: Vec<String> = guide
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|title| title.to_lowercase().replace(' ', "-").replace(['\'', '`', ',', '/'], ""))
        .collect();
    for link in guide.split("](#").skip(1).filter_map(|rest| rest.split(')').next()) {
        assert!(anchors.iter().any(|anchor| anchor == link), "{link}: {anchors:?}");
    }
    for path in quoted(&guide).filter(|word| word.starts_with("deploy/") || word.starts_with("waypoint/")) {
        assert!(root().join(path).exists(), "{path} is not there");
    }
}
