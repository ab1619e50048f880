//! What comes from elsewhere: under which licences, and of what there is more than one version.

use std::collections::{BTreeMap, BTreeSet};

use super::cargo;

/// Licences under which code may come in: none asks for more than a notice.
const LICENCES: [&str; 10] = [
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Zlib",
];

/// Crates of which the workspace builds several versions, because those who use them do not agree yet.
const TWICE: [&str; 14] = [
    "base64",
    "embedded-io",
    "getrandom",
    "hashbrown",
    "logos",
    "logos-codegen",
    "logos-derive",
    "pem",
    "rand",
    "rand_core",
    "syn",
    "synstructure",
    "unicode-width",
    "untrusted",
];

/// Every package that this platform builds for the workspace, tests included.
fn packages() -> Vec<serde_json::Value> {
    let arguments =
        ["metadata", "--format-version=1", "--locked", "--filter-platform=x86_64-unknown-linux-gnu"];
    let metadata: serde_json::Value = serde_json::from_str(&cargo(&arguments)).expect("JSON");
    let built: BTreeSet<&str> = metadata["resolve"]["nodes"]
        .as_array()
        .expect("nodes")
        .iter()
        .filter_map(|node| node["id"].as_str())
        .collect();
    let packages = metadata["packages"].as_array().expect("packages").iter();
    packages.filter(|package| package["id"].as_str().is_some_and(|id| built.contains(id))).cloned().collect()
}

/// Whether an SPDX expression can be met with [`LICENCES`] alone. `/` is how crates once wrote OR.
fn allowed(expression: &str) -> bool {
    let expression = expression.replace(" / ", "/").replace('/', " OR ");
    let tokens = expression.replace('(', " ( ").replace(')', " ) ").replace(" WITH ", "+WITH+");
    let mut tokens = tokens.split_whitespace().peekable();
    let met = any(&mut tokens);
    met && tokens.next().is_none()
}

type Tokens<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(tokens: &mut Tokens<'_>) -> bool {
    let mut met = all(tokens);
    while tokens.next_if_eq(&"OR").is_some() {
        met |= all(tokens);
    }
    met
}

fn all(tokens: &mut Tokens<'_>) -> bool {
    let mut met = one(tokens);
    while tokens.next_if_eq(&"AND").is_some() {
        met &= one(tokens);
    }
    met
}

fn one(tokens: &mut Tokens<'_>) -> bool {
    match tokens.next() {
        Some("(") => {
            let met = any(tokens);
            met && tokens.next() == Some(")")
        }
        Some(licence) => LICENCES.contains(&licence.replace("+WITH+", " WITH ").as_str()),
        None => false,
    }
}

#[test]
fn expressions_are_understood() {
    for (expression, expected) in [
        ("MIT", true),
        ("MIT/Apache-2.0", true),
        ("Apache-2.0 / MIT", true),
        ("GPL-3.0-only", false),
        ("GPL-3.0-only OR MIT", true),
        ("GPL-3.0-only AND MIT", false),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("(GPL-3.0-only OR MPL-2.0) AND MIT", false),
        ("ISC AND (GPL-3.0-only OR MIT)", true),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("GPL-2.0 WITH Classpath-exception-2.0", false),
        ("", false),
        ("MIT MIT", false),
    ] {
        assert_eq!(allowed(expression), expected, "{expression:?}");
    }
}

#[test]
fn every_licence_is_one_we_may_use() {
    let packages = packages();
    assert!(packages.len() > 100, "cargo metadata has changed");
    let refused: Vec<String> = packages
        .iter()
        .filter(|package| !package["license"].as_str().is_some_and(allowed))
        .map(|package| format!("{}: {}", package["name"], package["license"]))
        .collect();
    assert_eq!(refused, Vec::<String>::new());
}

#[test]
fn no_crate_is_built_twice_without_being_listed() {
    let mut versions = BTreeMap::<String, usize>::new();
    for package in packages() {
        *versions.entry(package["name"].as_str().expect("a name").to_owned()).or_default() += 1;
    }
    let twice: Vec<&str> =
        versions.iter().filter(|(_, count)| **count > 1).map(|(name, _)| name.as_str()).collect();
    assert_eq!(twice, TWICE, "cargo tree --duplicates tells who asks for which");
}
