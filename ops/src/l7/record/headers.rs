//! Headers by name, whoever keeps them.
use std::fmt;

use hyper::http::HeaderMap;

/// Headers of a request or an answer. Everything in them is a peer's word.
pub trait Headers: fmt::Debug {
    /// The first value of the header `name`, which is in lower case.
    fn get(&self, name: &str) -> Option<&[u8]>;
}

/// None are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NoHeaders;

impl Headers for NoHeaders {
    fn get(&self, _name: &str) -> Option<&[u8]> {
        None
    }
}

impl Headers for HeaderMap {
    fn get(&self, name: &str) -> Option<&[u8]> {
        Self::get(self, name).map(hyper::http::HeaderValue::as_bytes)
    }
}

/// A few that were kept, names in lower case.
impl Headers for Vec<(Box<str>, Box<[u8]>)> {
    fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(known, _)| **known == *name).map(|(_, value)| &**value)
    }
}
