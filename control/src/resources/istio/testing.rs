//! Resources for tests, as they are written.
use std::sync::Arc;

use adit_core::l7::{Request, Scheme};
use serde::Deserialize as _;

use super::super::{Object, Objects, Problems, World};

/// The objects of YAML documents.
pub(in super::super) fn objects(yaml: &str) -> Objects {
    let documents = serde_yaml_ng::Deserializer::from_str(yaml);
    let bodies = documents.map(|document| serde_json::Value::deserialize(document).unwrap());
    bodies.map(|body| Arc::new(Object::new(body).unwrap())).collect()
}

/// A waypoint of namespace `shop`.
pub(in super::super) fn world() -> World {
    World::new("shop", "waypoint")
}

/// Problems by field, each with the beginning of its text.
pub(in super::super) fn told(problems: Problems) -> Vec<(String, String)> {
    let problems = problems.into_sorted().into_iter();
    problems.map(|problem| (problem.field, problem.text)).collect()
}

/// `text` with every line moved in by so many spaces.
pub(in super::super) fn indented(text: &str, by: usize) -> String {
    text.lines().map(|line| format!("{:by$}{line}\n", "")).collect()
}

/// A request: `METHOD AUTHORITY TARGET`, and headers.
#[derive(Clone, Debug)]
pub(in super::super) struct Asked {
    method: String,
    authority: String,
    target: String,
    headers: Vec<(String, String)>,
}

impl Asked {
    /// A `GET` of a path with its query.
    pub(in super::super) fn get(target: &str) -> Self {
        Self { method: "GET".into(), authority: "web".into(), target: target.into(), headers: Vec::new() }
    }

    pub(in super::super) fn by(self, method: &str) -> Self {
        Self { method: method.into(), ..self }
    }

    pub(in super::super) fn at(self, authority: &str) -> Self {
        Self { authority: authority.into(), ..self }
    }

    pub(in super::super) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

impl Request for Asked {
    fn method(&self) -> &str {
        &self.method
    }

    fn scheme(&self) -> Scheme {
        Scheme::Http
    }

    fn authority(&self) -> &str {
        &self.authority
    }

    fn path(&self) -> &str {
        self.target.split_once('?').map_or(&*self.target, |(path, _)| path)
    }

    fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_bytes())
    }
}
