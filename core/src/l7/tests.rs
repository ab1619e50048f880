//! A request for tests.
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Headers, Request, Scheme};

#[derive(Clone, Debug)]
pub(super) struct Asked {
    method: String,
    authority: String,
    path: String,
    query: Option<String>,
    headers: Vec<(String, String)>,
}

impl Asked {
    /// `GET` of a path with its query.
    pub(super) fn get(target: &str) -> Self {
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        Self {
            method: "GET".into(),
            authority: "echo".into(),
            path: path.into(),
            query: query.map(ToString::to_string),
            headers: Vec::new(),
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
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(super) fn values(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(found, _)| found == name).map(|(_, value)| &**value).collect()
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
        self.headers.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_bytes())
    }
}

impl Headers for Asked {
    fn remove(&mut self, name: &str) {
        self.headers.retain(|(found, _)| found != name);
    }

    fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.append(name, value);
    }

    fn append(&mut self, name: &str, value: &str) {
        self.headers.push((name.into(), value.into()));
    }
}
