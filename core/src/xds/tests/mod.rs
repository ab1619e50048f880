//! Tests of the machine: by script, and against a model of the server.

mod model;
mod script;

use std::string::String;
use std::sync::Arc;
use std::vec::Vec;

use super::{Client, Config, Received, Request, ResourceType, Response, StreamId, Subscription};
use crate::time::Instant;

const ADDRESS: &str = ResourceType::Address.url();
const POLICY: &str = ResourceType::Authorization.url();

fn client(addresses: Subscription) -> Client {
    Client::new(&Config { addresses, max_waiters: 3, seed: 1 }, Instant::ZERO)
}

/// Opens the stream that the client wants.
fn open(client: &mut Client, now: Instant) -> StreamId {
    let stream = client.poll_open().expect("wants a stream");
    client.handle_connected(now, stream);
    stream
}

fn requests(client: &mut Client) -> Vec<Request> {
    std::iter::from_fn(|| client.poll_request()).collect()
}

fn good(name: &str, version: &str) -> Received {
    Received { name: name.into(), version: version.into(), aliases: Vec::new(), outcome: Ok(()) }
}

fn bad(name: &str, reason: &str) -> Received {
    Received { outcome: Err(reason.into()), ..good(name, "v") }
}

fn response(url: &str, nonce: &str, resources: Vec<Received>, removed: &[&str]) -> Response {
    Response {
        type_url: url.into(),
        nonce: nonce.into(),
        resources,
        removed: removed.iter().map(|name| Arc::from(*name)).collect(),
    }
}

fn versions(request: &Request) -> Vec<(String, String)> {
    request
        .initial_versions
        .iter()
        .map(|(name, version)| ((&**name).into(), std::format!("{version}")))
        .collect()
}
