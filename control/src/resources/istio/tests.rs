//! Istio's policies as they are written, and what they come to.
use std::collections::BTreeMap;
use std::net::IpAddr;

use adit_core::identity::Identity;
use adit_core::l7::authz::{Connection, Http, Subject, Verdict};
use adit_core::l7::jwt::{Authenticated, Claim};
use adit_core::l7::{Request, Scheme, Snapshot};
use adit_core::mesh::{Service, ServiceName};
use serde::Deserialize;

use super::super::testing::objects;
use super::super::{Compiled, World, compile};

mod policies;
mod providers;
mod tokens;

/// What is asked, as the tables write it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    tcp: bool,
    source: Option<String>,
    ip: Option<IpAddr>,
    remote: Option<IpAddr>,
    port: Option<u16>,
    sni: Option<String>,
    method: Option<String>,
    host: Option<String>,
    path: Option<String>,
    headers: BTreeMap<String, String>,
    claims: Option<serde_json::Value>,
}

impl Request for Asked {
    fn method(&self) -> &str {
        self.method.as_deref().unwrap_or("GET")
    }

    fn scheme(&self) -> Scheme {
        Scheme::Http
    }

    fn authority(&self) -> &str {
        self.host.as_deref().unwrap_or("echo")
    }

    fn path(&self) -> &str {
        let path = self.path.as_deref().unwrap_or("/");
        path.split_once('?').map_or(path, |(path, _)| path)
    }

    fn query(&self) -> Option<&str> {
        self.path.as_deref()?.split_once('?').map(|(_, query)| query)
    }

    fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.get(name).map(String::as_bytes).into_iter()
    }
}

/// The verdict of `snapshot` on what is asked of `service`.
fn verdict(snapshot: &Snapshot, service: Option<&Service>, asked: &Asked) -> Verdict {
    let source: Option<Identity> =
        asked.source.as_ref().map(|source| format!("spiffe://{source}").parse().unwrap());
    let ip = asked.ip.unwrap_or_else(|| [10, 0, 0, 1].into());
    let connection = Connection {
        source: source.as_ref(),
        source_ip: ip,
        destination: ([10, 9, 0, 1], asked.port.unwrap_or(80)).into(),
        sni: asked.sni.as_deref(),
    };
    let auth = asked.claims.as_ref().map(|claims| {
        let issuer = claims["iss"].as_str().unwrap().to_owned();
        Authenticated::new(Claim::deserialize(claims).unwrap(), &issuer, [])
    });
    let set = snapshot.policies.of(service);
    let decision = if asked.tcp {
        set.judge(&Subject::tcp(connection))
    } else {
        let remote_ip = asked.remote.unwrap_or(ip);
        set.judge(&Subject::http(connection, Http { request: asked, remote_ip, auth: auth.as_ref() }))
    };
    decision.verdict
}

fn world() -> World {
    World { trust_domain: "td".into(), ..World::new("shop", "waypoint") }
}

/// The objects of a text with several documents, compiled.
fn compiled(yaml: &str) -> Compiled {
    compile(&objects(yaml), &world())
}

/// A document of Istio's.
fn document(kind: &str, namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"
    )
}

fn config(mesh: &str) -> String {
    let mesh = serde_json::to_string(mesh).unwrap();
    format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata: {{mesh: {mesh}}}\n"
    )
}

fn service(namespace: &str, name: &str) -> Service {
    let hostname = format!("{name}.{namespace}.svc.cluster.local");
    let key = ServiceName { namespace: namespace.into(), hostname: hostname.into() };
    Service { object_name: name.into(), ..Service::new(key) }
}
