//! Asking what a case of `adit_testkit::conformance` wants to have asked.
use std::net::SocketAddr;

use adit_testkit::conformance::{Answer, Ask};

use super::{Client, h2c};

/// What `address` answers, each time.
pub fn ask(address: SocketAddr, asked: &Ask) -> Vec<Answer> {
    if asked.grpc {
        let calls = (0..asked.times).map(|_| h2c::call(asked.path, asked.headers)).collect();
        let replies = h2c::ask(address, calls, b"\0\0\0\0\0", None);
        let answer = |reply: &h2c::Reply| {
            let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
            let headers = reply.headers.iter().map(|(name, value)| (name.to_string(), text(value)));
            Answer { status: reply.status, headers: headers.collect(), told: reply.told() }
        };
        return replies.iter().map(answer).collect();
    }
    let mut client = Client::new(address);
    let replies = (0..asked.times).map(|_| client.ask(asked.method, asked.path, asked.headers, b""));
    let answer = |reply: super::Reply| {
        let told = reply.told();
        Answer { status: reply.status, headers: reply.headers, told }
    };
    replies.map(answer).collect()
}
