//! What a shard shows, in words: one line per event.
use std::time::{Duration, Instant};

use adit_core::proxy::Observed;
use adit_core::proxy::observed::{Connection, Direction, Flag, Party};
use adit_ops::counters::Octets;

use super::world::Who;
use adit_process::screen::Style;

/// Something one of the proxies showed.
#[derive(Clone, Debug)]
pub(super) struct Event {
    /// Which proxy.
    pub(super) who: Who,
    /// When.
    pub(super) at: Instant,
    /// What.
    pub(super) observed: Observed,
}

/// The event as a line, `since` the start.
pub(super) fn tell(event: &Event, since: Duration, style: Style) -> String {
    let (sign, text) = match &event.observed {
        Observed::ConnectionOpened(connection) => (style.cyan("→"), opened(connection)),
        Observed::ConnectionClosed { connection, bytes_sent, bytes_received, duration, error, flag } => {
            let whose = whose(connection);
            let octets = format!("{} sent, {} received", Octets(*bytes_sent), Octets(*bytes_received));
            match error {
                None => (style.green("✓"), format!("{whose} done: {octets}, {} ms", duration.as_millis())),
                Some(error) if *flag == Flag::Deny => (style.red("✗"), format!("{whose} refused: {error}")),
                Some(error) => (style.red("✗"), format!("{whose} failed: {error}")),
            }
        }
        Observed::EarlyDenied { source, error, .. } => {
            let source = source.map_or_else(|| "someone".to_owned(), |s| s.to_string());
            (style.red("✗"), format!("{source} refused: {error}"))
        }
        Observed::NoLongerAllowed { connection, reason } => {
            (style.red("✗"), format!("{} is allowed no more: {reason}", whose(connection)))
        }
        Observed::Judged { verdict, .. } => (style.dim("·"), verdict.to_string()),
        Observed::Resolved { connection, hostname } => {
            (style.dim("·"), format!("{}: {hostname} was looked up", whose(connection)))
        }
        Observed::DryRun { said, .. } => (style.dim("·"), said.to_string()),
        Observed::TunnelOpened { id, direction, peer, address } => {
            let way = match direction {
                Direction::Outbound => "to",
                Direction::Inbound => "from",
            };
            (style.green("═"), format!("tunnel {id} {way} {address} is up: the peer has proved to be {peer}"))
        }
        Observed::TunnelClosed { id, direction: _, reason, attack, streams_served } => {
            let attack = if *attack { " (the peer exceeded a budget)" } else { "" };
            let plural = if *streams_served == 1 { "" } else { "s" };
            let text = format!("tunnel {id} ended: {reason}{attack}, after {streams_served} stream{plural}");
            (style.dim("═"), text)
        }
    };
    let who = style.bold(format_args!("{:<5}", event.who.name()));
    let time = style.dim(format_args!("{:>8.3}s", since.as_secs_f64()));
    format!("{time}  {who} {sign} {text}")
}

/// What a connection that opens says: for the caller's proxy where it goes, for the other who comes.
fn opened(connection: &Connection) -> String {
    let Connection { source, destination, service, hbone_authority, .. } = connection;
    match connection.direction {
        Direction::Outbound => {
            let target =
                service.as_ref().map_or_else(|| name(destination), |service| service.hostname.to_string());
            let through = hbone_authority
                .as_ref()
                .map_or_else(|| "in plain TCP".to_owned(), |authority| format!("in a stream to {authority}"));
            format!("{} calls {target} {through}", name(source))
        }
        Direction::Inbound => {
            format!("{} calls {} as {}", name(source), name(destination), proven(source))
        }
    }
}

fn whose(connection: &Connection) -> String {
    format!("{}'s call", name(&connection.source))
}

fn name(party: &Party) -> String {
    match (&party.workload, party.address) {
        (Some(workload), _) => workload.to_string(),
        (None, Some(address)) => address.to_string(),
        (None, None) => "someone".to_owned(),
    }
}

fn proven(party: &Party) -> String {
    party.identity.as_ref().map_or_else(|| "nobody".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use adit_core::identity::Identity;
    use adit_core::proxy::observed::Names;

    use adit_core::proxy::observed::{Carrier, Traffic};

    use super::*;

    fn line(observed: Observed) -> String {
        let event = Event { who: Who::Echo, at: Instant::now(), observed };
        tell(&event, Duration::from_millis(1250), Style::PLAIN)
    }

    fn named(workload: &str, identity: Option<Identity>) -> Names {
        Names { workload: Some(workload.into()), identity, ..Names::default() }
    }

    fn connection() -> Arc<Connection> {
        let web = Identity::new("cluster.local", "demo", "web").unwrap();
        Arc::new(Connection {
            id: 1,
            direction: Direction::Inbound,
            source: Party::new(None, named("web", Some(web))),
            destination: Party::new(None, named("echo", None)),
            hbone_authority: None,
            service: None,
            carrier: Carrier::Tcp,
            target: None,
            forwarded_host: None,
            trace: None,
            traffic: Traffic::default(),
        })
    }

    #[test]
    fn lines_name_who_and_why() {
        assert_eq!(
            line(Observed::ConnectionOpened(connection())),
            "   1.250s  echo  → web calls echo as spiffe://cluster.local/ns/demo/sa/web"
        );
        let closed = |error: Option<&str>| Observed::ConnectionClosed {
            connection: connection(),
            bytes_sent: 2048,
            bytes_received: 5,
            duration: Duration::from_millis(7),
            error: error.map(str::to_owned),
            flag: Flag::None,
        };
        assert_eq!(
            line(closed(None)),
            "   1.250s  echo  ✓ web's call done: 2.0 KiB sent, 5 B received, 7 ms"
        );
        assert_eq!(line(closed(Some("no"))), "   1.250s  echo  ✗ web's call failed: no");
    }
}
