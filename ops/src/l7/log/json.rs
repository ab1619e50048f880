//! One JSON object per line: the keys of Istio's default (waypoint.md §20.3) in its order, then ours (§20.5). What is not there
//! is `null`.
//!
//! Ours: `source_principal`, `source_workload`, `source_namespace`, `destination_principal`, `destination_workload`,
//! `destination_namespace`, `policy` (the one that decided), `retries`, `tunnel_reused`, `trace_id`, `span_id`, and
//! `connection_id` (the trace of the tunnel, by which the node proxies' logs name the connection).
use adit_core::hbone::TraceParent;

use super::super::record::{Exchange, Peer};
use super::octets::{self, show};

/// Writes members one after the other.
struct Object<'a> {
    out: &'a mut Vec<u8>,
}

impl Object<'_> {
    fn key(&mut self, key: &str) {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend(key.as_bytes());
        self.out.extend(b"\":");
    }

    fn octets(&mut self, key: &str, value: &[u8]) {
        self.key(key);
        match value {
            b"" => self.out.extend(b"null"),
            value => octets::json(self.out, value),
        }
    }

    fn text(&mut self, key: &str, value: &str) {
        self.octets(key, value.as_bytes());
    }

    /// What needs no escapes.
    fn plain(&mut self, key: &str, value: Option<impl std::fmt::Display>) {
        self.key(key);
        match value {
            Some(value) => show(self.out, format_args!("\"{value}\"")),
            None => self.out.extend(b"null"),
        }
    }

    fn bare(&mut self, key: &str, value: impl std::fmt::Display) {
        self.key(key);
        show(self.out, value);
    }

    fn peer(&mut self, keys: [&str; 3], peer: Option<&Peer>) {
        // An identity may have any letters.
        let principal = peer.and_then(|peer| peer.principal.as_ref()).map(ToString::to_string);
        self.text(keys[0], principal.as_deref().unwrap_or_default());
        self.text(keys[1], peer.map_or("", |peer| &*peer.workload));
        self.text(keys[2], peer.map_or("", |peer| &*peer.namespace));
    }
}

/// Appends the line.
pub(super) fn line(out: &mut Vec<u8>, exchange: &Exchange<'_>) {
    let (http, upstream, downstream) = (&exchange.http, &exchange.upstream, &exchange.downstream);
    out.extend(b"{\"start_time\":\"");
    octets::time(out, exchange.started);
    out.push(b'"');
    let mut object = Object { out };
    object.text("route_name", exchange.route);
    object.octets("method", http.method);
    object.octets("path", http.path);
    object.plain("protocol", http.version.map(|version| version.as_str()));
    object.bare("response_code", http.status);
    object.plain("response_flags", Some(exchange.flags));
    object.plain("response_code_details", exchange.details);
    object.text("connection_termination_details", exchange.termination);
    object.bare("bytes_received", exchange.received.body);
    object.bare("bytes_sent", exchange.sent.body);
    object.bare("duration", exchange.duration.as_millis());
    // A text, as it is a header.
    object.plain("upstream_service_time", upstream.service_time.map(|time| time.as_millis()));
    object.octets("x_forwarded_for", http.forwarded_for);
    object.octets("user_agent", http.user_agent);
    object.octets("request_id", http.request_id);
    object.octets("authority", http.authority);
    object.plain("upstream_host", upstream.host);
    object.text("upstream_cluster", upstream.cluster);
    object.plain("upstream_local_address", upstream.local);
    object.plain("downstream_local_address", downstream.local);
    object.plain("downstream_remote_address", downstream.remote);
    object.text("requested_server_name", downstream.server_name);
    object.text("upstream_transport_failure_reason", upstream.transport_failure);
    let source = ["source_principal", "source_workload", "source_namespace"];
    object.peer(source, exchange.source.map(|peer| &**peer));
    let destination = ["destination_principal", "destination_workload", "destination_namespace"];
    object.peer(destination, exchange.destination.map(|peer| &**peer));
    object.text("policy", exchange.policy);
    object.bare("retries", upstream.retries);
    object.bare("tunnel_reused", upstream.reused);
    let hex = |trace: Option<TraceParent>| trace.map(|trace| format!("{:032x}", trace.trace_id));
    object.plain("trace_id", hex(exchange.trace));
    object.plain("span_id", exchange.trace.map(|trace| format!("{:016x}", trace.span_id)));
    object.plain("connection_id", hex(exchange.connection));
    object.out.extend(b"}\n");
}
