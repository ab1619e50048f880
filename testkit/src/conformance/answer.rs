//! What came back, compared with what was expected.
use serde_json::Value;

use super::{Ask, Fields};

/// What came back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Headers, by names in small letters.
    pub headers: Vec<(String, String)>,
    /// What the application tells of the request, in JSON: `app`, `method`, `path`, `host`, `version`, and `headers` by name
    /// with their values joined. Null if there is no such thing.
    pub told: Value,
}

impl Answer {
    /// Which application has answered.
    #[must_use]
    pub fn app(&self) -> Option<&str> {
        self.told["app"].as_str()
    }

    /// The values of a header, joined.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let values: Vec<_> =
            self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| &**value).collect();
        (!values.is_empty()).then(|| values.join(","))
    }

    /// What is otherwise than `asked` expects.
    pub(super) fn differs(&self, asked: &Ask) -> Vec<String> {
        let expected = &asked.expected;
        let mut wrong = Vec::new();
        let mut same = |what: &str, found: Option<&str>, expected: Option<&str>| {
            if found != expected {
                wrong.push(format!("{what} is {found:?}, expected {expected:?}"));
            }
        };
        same("the status", Some(&self.status.to_string()), Some(&expected.status.to_string()));
        same("the location", self.header("location").as_deref(), expected.location);
        for (name, value) in expected.headers {
            same(name, self.header(name).as_deref(), *value);
        }
        let told = |name: &str| self.told[name].as_str();
        let Some(seen) = &expected.seen else {
            same("who answers", self.app(), None);
            return wrong;
        };
        if seen.by.is_some() || self.app().is_none() {
            same("who answers", self.app(), Some(seen.by.unwrap_or("an application")));
        }
        same("the method", told("method"), Some(asked.method));
        same("the path", told("path"), Some(seen.path.unwrap_or(asked.path)));
        same("the host", told("host"), Some(seen.host.unwrap_or_else(|| asked.host())));
        let grpc: Fields = if asked.grpc { &[("te", Some("trailers"))] } else { &[] };
        for (name, value) in seen.headers.iter().chain(grpc) {
            same(&format!("{name} at the application"), self.told["headers"][name].as_str(), *value);
        }
        if asked.grpc {
            same("the version", told("version"), Some("HTTP/2.0"));
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{cases, get, mesh_cases};
    use super::*;

    #[test]
    fn what_differs_is_told() {
        let asked = get("echo").path("/a").with(&[("host", "x")]).by("v1").as_path("/b").sees(&[("y", None)]);
        let told = json!({ "app": "v1", "method": "GET", "path": "/b", "host": "x", "headers": {} });
        let right = Answer { status: 200, headers: Vec::new(), told };
        assert_eq!(right.differs(&asked), Vec::<String>::new());
        for (change, expected) in [
            (("app", json!("v2")), "who answers"),
            (("path", json!("/a")), "the path"),
            (("host", json!("echo")), "the host"),
            (("method", json!("PUT")), "the method"),
            (("headers", json!({ "y": "1" })), "y at the application"),
        ] {
            let mut wrong = right.clone();
            wrong.told[change.0] = change.1;
            let differences = wrong.differs(&asked);
            assert!(differences.len() == 1 && differences[0].starts_with(expected), "{differences:?}");
        }
        assert_eq!(right.differs(&asked.told(&[("z", Some("1"))])).len(), 1);
        // An application that answers where none should, and none where one should.
        assert_eq!(right.differs(&asked.is(200)).len(), 1);
        assert!(!Answer { status: 200, ..Answer::default() }.differs(&get("echo")).is_empty());
    }

    #[test]
    fn every_mesh_case_is_here_once() {
        let mut names: Vec<_> = cases().map(|case| case.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), cases().count());
        assert_eq!(mesh_cases().count(), 23);
    }
}
