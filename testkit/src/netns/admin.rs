//! Asking the HTTP servers of a namespace: a proxy's admin pages, and whether a program is ready.
use std::io::{self, Read, Write};
use std::net::SocketAddr;

use serde_json::Value;

use super::Host;

/// Where a proxy's admin pages are, seen from its own namespace.
const ADMIN: ([u8; 4], u16) = ([127, 0, 0, 1], 15000);

/// The body of what `at` answers to a GET, asked for on `host`.
///
/// # Errors
/// Nobody answers, or not with 200.
pub fn get(host: &Host, at: impl Into<SocketAddr>, path: &str) -> io::Result<String> {
    let mut stream = host.connect(at).map_err(io::Error::other)?;
    write!(stream, "GET {path} HTTP/1.0\r\nhost: x\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.split(' ').nth(1) == Some("200") => Ok(body.to_owned()),
        _ => Err(io::Error::other(format!("{path}: {answer}"))),
    }
}

/// An admin page of the proxy on `host`, in JSON.
///
/// # Errors
/// As [`get`]; or it is no JSON.
pub fn page(host: &Host, path: &str) -> io::Result<Value> {
    Ok(serde_json::from_str(&get(host, ADMIN, path)?)?)
}

/// Everything that the admin pages of the proxy in `host`'s namespace show.
///
/// # Errors
/// As [`page`].
pub fn dump(host: &Host) -> io::Result<Value> {
    page(host, "/config_dump")
}

/// The identities that the proxy on `host` keeps certificates for, in order; none if it does not answer.
#[must_use]
pub fn certificates(host: &Host) -> Vec<String> {
    let dump = dump(host).unwrap_or_default();
    let each = dump["certificates"].as_array().map_or(&[][..], Vec::as_slice);
    let mut identities: Vec<_> =
        each.iter().filter_map(|each| each["identity"].as_str().map(str::to_owned)).collect();
    identities.sort();
    identities
}
