//! Any request to the admin pages: an answer with a known status, and levels that can still be reset.
use std::sync::{Arc, OnceLock};

use adit_core::mesh::Mesh;
use adit_core::proxy::observed::Connection;
use adit_ops::admin::{Admin, AdminState, CertificateStatus, ProxyState, Version};
use adit_ops::http::{Handler, Method, Request};
use adit_ops::logging::{Format, Levels, subscriber};

/// A process without anything in it.
struct Nothing;

impl AdminState for Nothing {
    fn mesh(&self) -> Arc<Mesh> {
        Arc::default()
    }
    fn static_mesh(&self) -> Option<Arc<Mesh>> {
        None
    }
    fn certificates(&self) -> Vec<CertificateStatus> {
        Vec::new()
    }
    fn proxies(&self) -> Vec<ProxyState> {
        Vec::new()
    }
    fn connections(&self) -> Vec<Arc<Connection>> {
        Vec::new()
    }
    fn config(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
    fn version(&self) -> Version {
        Version::default()
    }
    fn shut_down(&self) {}
}

fn levels() -> Arc<Levels> {
    static LEVELS: OnceLock<Arc<Levels>> = OnceLock::new();
    let make = || {
        let (subscriber, levels) = subscriber("info", Format::Plain, |_, _: &[u8]| ()).expect("a filter");
        // Levels of a subscriber that is gone cannot be changed.
        std::mem::forget(subscriber);
        Arc::new(levels)
    };
    Arc::clone(LEVELS.get_or_init(make))
}

/// The first octet picks the method, the rest is the target.
pub fn body(data: &[u8]) {
    let Some((method, target)) = data.split_first() else { return };
    let method = [Method::Get, Method::Post, Method::Other][usize::from(method % 3)];
    let request = Request::new(method, &String::from_utf8_lossy(target));
    assert!(!request.target.path.contains(['?', '#']));
    let admin = Admin::new(Arc::new(Nothing), levels());
    let response = admin.answer(&request);
    assert!([200, 400, 404, 405, 501].contains(&response.status), "{}", response.status);
    if request.target.path == "/config_dump" {
        let dump = response.body.into_bytes();
        assert!(serde_json::from_slice::<serde_json::Value>(&dump).is_ok());
    }
    assert_eq!(admin.answer(&Request::new(Method::Post, "/logging?reset")).status, 200);
}
