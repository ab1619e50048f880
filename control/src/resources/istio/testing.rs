//! Resources for tests, as they are written.
use std::sync::Arc;

use serde::Deserialize as _;

use super::super::{Object, Objects, Problems, World};

/// The objects of YAML documents.
pub(super) fn objects(yaml: &str) -> Objects {
    let documents = serde_yaml_ng::Deserializer::from_str(yaml);
    let bodies = documents.map(|document| serde_json::Value::deserialize(document).unwrap());
    bodies.map(|body| Arc::new(Object::new(body).unwrap())).collect()
}

/// A waypoint of namespace `shop`.
pub(super) fn world() -> World {
    World::new("shop", "waypoint")
}

/// Problems by field, each with the beginning of its text.
pub(super) fn told(problems: Problems) -> Vec<(String, String)> {
    let problems = problems.into_sorted().into_iter();
    problems.map(|problem| (problem.field, problem.text)).collect()
}

/// `text` with every line moved in by so many spaces.
pub(super) fn indented(text: &str, by: usize) -> String {
    text.lines().map(|line| format!("{:by$}{line}\n", "")).collect()
}
