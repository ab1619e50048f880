//! Envoy's default line, as Istio has it (waypoint.md §20.2).
use std::net::SocketAddr;

use super::super::record::Exchange;
use super::octets::{field, quoted, show, time};

/// What stands where there is nothing.
const NOTHING: &[u8] = b"-";

fn or_nothing(octets: &[u8]) -> &[u8] {
    if octets.is_empty() { NOTHING } else { octets }
}

fn address(out: &mut Vec<u8>, address: Option<SocketAddr>) {
    match address {
        Some(address) => show(out, address),
        None => out.extend(NOTHING),
    }
}

/// A field between blanks.
fn bare(out: &mut Vec<u8>, octets: &[u8]) {
    field(out, or_nothing(octets));
}

/// A field between quotes.
fn in_quotes(out: &mut Vec<u8>, octets: &[u8]) {
    out.push(b'"');
    quoted(out, or_nothing(octets));
    out.push(b'"');
}

/// Appends the line.
pub(super) fn line(out: &mut Vec<u8>, exchange: &Exchange<'_>) {
    let (http, upstream, downstream) = (&exchange.http, &exchange.upstream, &exchange.downstream);
    out.push(b'[');
    time(out, exchange.started);
    out.extend(b"] \"");
    bare(out, http.method);
    out.push(b' ');
    bare(out, http.path);
    out.push(b' ');
    bare(out, http.version.map_or("", |version| version.as_str()).as_bytes());
    out.extend(b"\" ");
    show(out, format_args!("{} {} ", http.status, exchange.flags));
    match exchange.details {
        Some(details) => show(out, details),
        None => out.extend(NOTHING),
    }
    out.push(b' ');
    bare(out, exchange.termination.as_bytes());
    out.push(b' ');
    in_quotes(out, upstream.transport_failure.as_bytes());
    let (received, sent) = (exchange.received.body, exchange.sent.body);
    show(out, format_args!(" {received} {sent} {} ", exchange.duration.as_millis()));
    match upstream.service_time {
        Some(time) => show(out, time.as_millis()),
        None => out.extend(NOTHING),
    }
    for octets in [http.forwarded_for, http.user_agent, http.request_id, http.authority] {
        out.push(b' ');
        in_quotes(out, octets);
    }
    out.extend(b" \"");
    address(out, upstream.host);
    out.extend(b"\" ");
    bare(out, upstream.cluster.as_bytes());
    for end in [upstream.local, downstream.local, downstream.remote] {
        out.push(b' ');
        address(out, end);
    }
    for octets in [downstream.server_name, exchange.route] {
        out.push(b' ');
        bare(out, octets.as_bytes());
    }
    out.push(b'\n');
}
