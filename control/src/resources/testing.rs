//! Resources and requests for tests, as they are written.
use std::sync::Arc;

use adit_core::l7::{Headers, Request, Scheme};

use super::{Objects, Problems, World, documents};

/// The objects of YAML documents.
pub(super) fn objects(yaml: &str) -> Objects {
    let read = documents::read(yaml, false).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    read.into_iter().map(Arc::new).collect()
}

/// A waypoint of namespace `shop`.
pub(super) fn world() -> World {
    World::new("shop", "waypoint")
}

/// Problems by field, each with its text.
pub(super) fn told(problems: Problems) -> Vec<(String, String)> {
    let problems = problems.into_sorted().into_iter();
    problems.map(|problem| (problem.field, problem.text)).collect()
}

/// `text` with every line moved in by so many spaces.
pub(super) fn indented(text: &str, by: usize) -> String {
    text.lines().map(|line| format!("{:by$}{line}\n", "")).collect()
}

/// A request, or the headers of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) authority: String,
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) headers: Vec<(String, String)>,
}

impl Asked {
    /// `GET` of a path and query at `echo`.
    pub(super) fn get(target: &str) -> Self {
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        Self {
            method: "GET".into(),
            authority: "echo".into(),
            path: path.into(),
            query: query.map(Into::into),
            headers: vec![],
        }
    }

    pub(super) fn by(self, method: &str) -> Self {
        Self { method: method.into(), ..self }
    }

    pub(super) fn at(self, authority: &str) -> Self {
        Self { authority: authority.into(), ..self }
    }

    /// With a further value of a header.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.append(&name.to_ascii_lowercase(), value);
        self
    }

    /// All values of a header; empty if it is not there.
    pub(super) fn value(&self, name: &str) -> String {
        let values: Vec<_> =
            self.headers.iter().filter(|(of, _)| of == name).map(|(_, value)| &**value).collect();
        values.join(",")
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
        &self.path
    }

    fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |(of, _)| of == name).map(|(_, value)| value.as_bytes())
    }
}

impl Headers for Asked {
    fn remove(&mut self, name: &str) {
        self.headers.retain(|(of, _)| of != name);
    }

    fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.append(name, value);
    }

    fn append(&mut self, name: &str, value: &str) {
        self.headers.push((name.into(), value.into()));
    }
}
