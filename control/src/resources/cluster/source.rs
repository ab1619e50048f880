//! What one watch is of: all objects of a kind, or a single one; and its requests to the API.
use std::fmt;
use std::sync::Arc;

use super::super::problem::ObjectName;
use super::kinds::Kind;

/// Objects of a page of a list (client-go has the same).
const PAGE: u32 = 500;

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Source {
    /// Its kind.
    pub(super) kind: &'static Kind,
    /// The one object that is watched, by namespace and name; `None`: all of the kind.
    pub(super) only: Option<(Arc<str>, Arc<str>)>,
}

impl Ord for Source {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key = |source: &Self| (source.kind.group, source.kind.kind, source.only.clone());
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for Source {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Source {
    /// Such as `HTTPRoute` or `ConfigMap istio-system/istio`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.only {
            None => f.write_str(self.kind.kind),
            Some((namespace, name)) => write!(f, "{} {namespace}/{name}", self.kind.kind),
        }
    }
}

/// The folder of a group's version.
fn folder(kind: &Kind, version: &str) -> String {
    match kind.group {
        "" => format!("/api/{version}"),
        group => format!("/apis/{group}/{version}"),
    }
}

/// What tells which kinds a version of a group has.
pub(super) fn discovery(kind: &Kind, version: &str) -> String {
    folder(kind, version)
}

/// An object's own path, or that of its status.
pub(super) fn object_path(kind: &Kind, version: &str, name: &ObjectName, status: bool) -> String {
    let ObjectName { namespace, name, .. } = name;
    let (folder, plural) = (folder(kind, version), kind.plural);
    let namespaced = match &**namespace {
        "" => String::new(),
        namespace => format!("/namespaces/{namespace}"),
    };
    format!("{folder}{namespaced}/{plural}/{name}{}", if status { "/status" } else { "" })
}

impl Source {
    /// All objects of a kind.
    pub(super) const fn all(kind: &'static Kind) -> Self {
        Self { kind, only: None }
    }

    fn collection(&self, version: &str) -> (String, String) {
        let (folder, plural) = (folder(self.kind, version), self.kind.plural);
        match &self.only {
            None => (format!("{folder}/{plural}"), String::new()),
            // A watch of one object is allowed to who may watch that name alone.
            Some((namespace, name)) => (
                format!("{folder}/namespaces/{namespace}/{plural}"),
                format!("&fieldSelector=metadata.name%3D{name}"),
            ),
        }
    }

    /// Path and query of a page of the list. `more`: what the page before said (`metadata.continue`).
    pub(super) fn list(&self, version: &str, more: Option<&str>) -> String {
        let (path, selector) = self.collection(version);
        let more = more.map(|token| format!("&continue={}", escaped(token))).unwrap_or_default();
        format!("{path}?limit={PAGE}{selector}{more}")
    }

    /// Path and query of a watch from a version of the list on, which the server ends after so many seconds.
    pub(super) fn watch(&self, version: &str, from: &str, seconds: u64) -> String {
        let (path, selector) = self.collection(version);
        let from = escaped(from);
        format!(
            "{path}?watch=true&allowWatchBookmarks=true&resourceVersion={from}&timeoutSeconds={seconds}{selector}"
        )
    }
}

/// A value of a query.
fn escaped(text: &str) -> String {
    use std::fmt::Write as _;

    text.bytes().fold(String::new(), |mut all, octet| {
        match octet {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'.' | b'_' | b'~' => all.push(octet.into()),
            // Writing into a String never fails.
            _ => _ = write!(all, "%{octet:02X}"),
        }
        all
    })
}

#[cfg(test)]
mod tests {
    use super::super::kinds::{CONFIG_MAP, find};
    use super::*;

    #[test]
    fn paths_are_those_of_the_api() {
        let routes = Source::all(find("gateway.networking.k8s.io", "HTTPRoute").unwrap());
        assert_eq!(routes.list("v1", None), "/apis/gateway.networking.k8s.io/v1/httproutes?limit=500");
        assert!(routes.list("v1", Some("a=/+")).ends_with("&continue=a%3D%2F%2B"));
        assert_eq!(
            routes.watch("v1", "17", 240),
            "/apis/gateway.networking.k8s.io/v1/httproutes?watch=true&allowWatchBookmarks=true&resourceVersion=17&timeoutSeconds=240"
        );
        let mesh = Source { kind: &CONFIG_MAP, only: Some(("istio-system".into(), "istio".into())) };
        assert_eq!(
            mesh.list("v1", None),
            "/api/v1/namespaces/istio-system/configmaps?limit=500&fieldSelector=metadata.name%3Distio"
        );
        assert_eq!(
            (routes.to_string(), mesh.to_string()),
            ("HTTPRoute".to_owned(), "ConfigMap istio-system/istio".to_owned())
        );
        let name = |namespace: &str| ObjectName {
            group: "".into(),
            kind: "X".into(),
            namespace: namespace.into(),
            name: "x".into(),
        };
        let class = find("gateway.networking.k8s.io", "GatewayClass").unwrap();
        assert_eq!(
            object_path(class, "v1", &name(""), true),
            "/apis/gateway.networking.k8s.io/v1/gatewayclasses/x/status"
        );
        assert_eq!(object_path(&CONFIG_MAP, "v1", &name("n"), false), "/api/v1/namespaces/n/configmaps/x");
    }
}
