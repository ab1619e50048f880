//! Any request to the admin pages: an answer with a known status, and levels that can still be reset.
use std::sync::{Arc, OnceLock};

use adit_ops::admin::Admin;
use adit_ops::http::{Handler, Method, Request};
use adit_ops::logging::{Format, Levels, subscriber};

use super::undump::Tables;

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
    let admin = Admin::new(Arc::new(Tables(Arc::default())), levels());
    let response = admin.answer(&request);
    assert!([200, 400, 404, 405, 501].contains(&response.status), "{}", response.status);
    if request.target.path == "/config_dump" {
        let dump = response.body.into_bytes();
        assert!(serde_json::from_slice::<serde_json::Value>(&dump).is_ok());
    }
    assert_eq!(admin.answer(&Request::new(Method::Post, "/logging?reset")).status, 200);
}
