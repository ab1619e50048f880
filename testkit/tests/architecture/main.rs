//! The shape of the workspace, checked: what `core` may depend on, what the documents say, what sources must not hold.
//!
//! Purity has four nets (docs/architecture.md): the bare-target build in `.ci/run`, [`dependencies`] here, the bans in
//! `core/clippy.toml` (kept whole by [`sources`]), and the two processes of `tests/determinism.rs`.

mod dependencies;
mod documents;
mod layers;
mod mutants;
mod sources;
mod supply;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The folder of the workspace.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("testkit lies in the workspace")
}

/// The text of `path`, which is relative to the workspace.
fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What cargo prints; it needs no network, as whoever runs this test has built the workspace from the same lock file.
fn cargo(arguments: &[&str]) -> String {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(arguments).current_dir(root()).output().expect("cargo runs");
    assert!(
        output.status.success(),
        "cargo {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}

/// Every file of the project, relative to the workspace: neither build output nor what git or a fuzzer keeps.
fn files() -> Vec<PathBuf> {
    const NOT_OURS: [&str; 5] = [".git", "target", "artifacts", "corpus", "coverage"];
    let mut found = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the workspace") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).expect("names are UTF-8");
            if NOT_OURS.contains(&name) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(root()).expect("below the root").to_owned());
            }
        }
    }
    found.sort();
    found
}

/// The Rust sources among [`files`], with their texts.
fn rust_files() -> Vec<(String, String)> {
    let paths =
        files().into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    paths
        .map(|path| path.to_str().expect("UTF-8").to_owned())
        .map(|path| (path.clone(), read(&path)))
        .collect()
}

/// A member of the workspace, as cargo sees it.
struct Member {
    package: String,
    /// Relative to the workspace.
    folder: String,
    description: String,
    /// Other members it needs when it is shipped (not for its tests).
    uses: Vec<String>,
}

/// The members of the workspace.
fn members() -> Vec<Member> {
    let metadata: serde_json::Value =
        serde_json::from_str(&cargo(&["metadata", "--format-version=1", "--no-deps", "--locked"]))
            .expect("JSON");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let packages = metadata["packages"].as_array().expect("packages");
    let names: Vec<String> = packages.iter().map(|package| text(&package["name"])).collect();
    packages
        .iter()
        .map(|package| {
            let manifest = PathBuf::from(text(&package["manifest_path"]));
            let folder = manifest.parent().expect("a folder").strip_prefix(root()).expect("below the root");
            let dependencies = package["dependencies"].as_array().expect("dependencies").iter();
            let shipped = dependencies.filter(|dependency| dependency["kind"].is_null());
            let mut uses: Vec<String> = shipped
                .map(|dependency| text(&dependency["name"]))
                .filter(|name| names.contains(name))
                .collect();
            uses.sort();
            Member {
                package: text(&package["name"]),
                folder: folder.to_str().expect("UTF-8").to_owned(),
                description: text(&package["description"]),
                uses,
            }
        })
        .collect()
}
