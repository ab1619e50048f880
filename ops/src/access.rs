//! The access log: one line per proxied connection, fields and order as Istio's node proxy prints them.
//!
//! Levels: opened is DEBUG, ended well is INFO, ended in error is ERROR, refused before it was a connection is WARN.
use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

use adit_core::proxy::Observed;
use adit_core::proxy::observed::{Connection, Direction};

/// The word for a direction in logs.
#[must_use]
pub const fn direction_word(direction: Direction) -> &'static str {
    match direction {
        Direction::Inbound => "inbound",
        Direction::Outbound => "outbound",
    }
}

/// One event about what policies say of a connection.
macro_rules! policy_event {
    ($level:expr, $connection:expr, $($more:tt)+) => {
        tracing::event!(
            target: "rbac",
            $level,
            src.addr = $connection.source.address.map(display),
            src.identity = $connection.source.identity.as_ref().map(ToString::to_string),
            dst.addr = $connection.destination.address.map(display),
            $($more)+
        )
    };
}

/// How loud decisions of policies are, those of policies on trial included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Decisions {
    /// At DEBUG: `AUTHZ_POLICY_INFO_LOGGING=false`.
    #[default]
    Quiet,
    /// At INFO: `AUTHZ_POLICY_INFO_LOGGING=true`.
    Loud,
}

/// Logs `observed` if it is of interest to a log, decisions at DEBUG: connections with target `access`, policies with
/// target `rbac`, tunnels with target `tunnel`.
pub fn log(observed: &Observed) {
    log_with(observed, Decisions::Quiet);
}

/// As [`log`], with decisions as loud as `decisions` says.
pub fn log_with(observed: &Observed, decisions: Decisions) {
    match observed {
        Observed::ConnectionOpened(connection) => opened(connection),
        Observed::ConnectionClosed { connection, bytes_sent, bytes_received, duration, error, flag: _ } => {
            closed(connection, *bytes_sent, *bytes_received, *duration, error.as_deref());
        }
        Observed::Resolved { connection, hostname } => tracing::event!(
            target: "dns",
            tracing::Level::DEBUG,
            src.addr = connection.source.address.map(display),
            dst.addr = connection.destination.address.map(display),
            hostname = hostname.to_string(),
            "name of the destination looked up"
        ),
        Observed::Judged { connection, verdict } => decided(connection, decisions, verdict),
        Observed::DryRun { connection, said } => decided(connection, decisions, said),
        Observed::NoLongerAllowed { connection, reason } => policy_event!(
            tracing::Level::INFO,
            connection,
            reason = reason.to_string(),
            "connection closed because it's no longer allowed after a policy update"
        ),
        Observed::EarlyDenied { source, destination, direction, error, flag: _ } => {
            early(*source, *destination, *direction, error);
        }
        Observed::TunnelOpened { id, direction, peer, address } => tracing::debug!(
            target: "tunnel",
            id,
            peer.addr = %address,
            peer.identity = %peer,
            direction = direction_word(*direction),
            "tunnel opened"
        ),
        Observed::TunnelClosed { id, direction, reason, attack: true, streams_served } => tracing::warn!(
            target: "tunnel",
            id,
            direction = direction_word(*direction),
            reason,
            streams = streams_served,
            "tunnel ended: the peer exceeded a budget"
        ),
        Observed::TunnelClosed { id, direction, reason, attack: false, streams_served } => tracing::debug!(
            target: "tunnel",
            id,
            direction = direction_word(*direction),
            reason,
            streams = streams_served,
            "tunnel closed"
        ),
    }
}

fn decided(connection: &Connection, decisions: Decisions, said: impl Display) {
    match decisions {
        Decisions::Quiet => policy_event!(tracing::Level::DEBUG, connection, "{said}"),
        Decisions::Loud => policy_event!(tracing::Level::INFO, connection, "{said}"),
    }
}

/// One event with the fields every connection line begins with, in the order tools rely on.
macro_rules! connection_event {
    ($level:expr, $connection:expr, $message:literal $(, $($more:tt)+)?) => {{
        let Connection { direction, source, destination, hbone_authority, service, .. } = $connection;
        tracing::event!(
            target: "access",
            $level,
            src.addr = source.address.map(display),
            src.workload = source.workload.as_deref(),
            src.namespace = source.namespace.as_deref(),
            src.identity = source.identity.as_ref().map(ToString::to_string),
            src.cluster = source.cluster.as_deref(),
            dst.addr = destination.address.map(display),
            dst.hbone_addr = hbone_authority.as_ref().map(display),
            dst.service = service.as_ref().map(|service| &*service.hostname),
            dst.workload = destination.workload.as_deref(),
            dst.namespace = destination.namespace.as_deref(),
            dst.identity = destination.identity.as_ref().map(ToString::to_string),
            dst.cluster = destination.cluster.as_deref(),
            direction = direction_word(*direction),
            $($($more)+,)?
            $message
        );
    }};
}

fn opened(connection: &Connection) {
    connection_event!(tracing::Level::DEBUG, connection, "connection opened");
}

fn closed(
    connection: &Connection,
    bytes_sent: u64,
    bytes_recv: u64,
    duration: Duration,
    error: Option<&str>,
) {
    let duration = format!("{}ms", duration.as_millis());
    match error {
        None => connection_event!(
            tracing::Level::INFO,
            connection,
            "connection complete",
            bytes_sent,
            bytes_recv,
            duration
        ),
        Some(error) => connection_event!(
            tracing::Level::ERROR,
            connection,
            "connection complete",
            bytes_sent,
            bytes_recv,
            duration,
            error
        ),
    }
}

fn early(source: Option<SocketAddr>, destination: Option<SocketAddr>, direction: Direction, error: &str) {
    tracing::event!(
        target: "access",
        tracing::Level::WARN,
        src.addr = source.map(display),
        dst.addr = destination.map(display),
        direction = direction_word(direction),
        error,
        "connection failed"
    );
}

#[cfg(test)]
mod tests;
