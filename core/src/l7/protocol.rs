//! What is spoken on a service's port, as far as its resource says (Kubernetes: `appProtocol`, else the port's name; Istio:
//! "Protocol Selection").
use alloc::collections::BTreeMap;

use super::backends::Target;
use crate::mesh::ServiceName;

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// HTTP, 1.1 or 2 as the client's preface says; the backend is asked in the same version.
    Http,
    /// HTTP/2.
    Http2,
    /// gRPC, over HTTP/2.
    Grpc,
    /// gRPC as browsers speak it.
    GrpcWeb,
    /// TLS of the application's own. Its server name can be read, nothing else.
    Tls,
    /// Some other protocol over TCP.
    Tcp,
    /// UDP, which no waypoint carries.
    Udp,
    /// Nobody has said: HTTP if the first octets look like it, else TCP.
    Detect,
}

impl Protocol {
    /// What a port speaks: by `appProtocol`, where that is not there by the port's name up to its first hyphen, and where that
    /// says nothing by its number. Case means nothing.
    ///
    /// ```
    /// use adit_core::l7::Protocol;
    /// assert_eq!(Protocol::of_port("web", Some("kubernetes.io/h2c"), false, 80), Protocol::Http2);
    /// assert_eq!(Protocol::of_port("grpc-orders", None, false, 80), Protocol::Grpc);
    /// assert_eq!(Protocol::of_port("", None, false, 3306), Protocol::Tcp);
    /// ```
    #[must_use]
    pub fn of_port(name: &str, app_protocol: Option<&str>, udp: bool, port: u16) -> Self {
        if udp {
            return Self::Udp;
        }
        let said = app_protocol.unwrap_or(name).to_ascii_lowercase();
        // Before the hyphen is looked for, as it has one itself.
        if said.starts_with("grpc-web") {
            return Self::GrpcWeb;
        }
        let word = match app_protocol {
            Some(_) => &*said,
            None => said.split('-').next().unwrap_or_default(),
        };
        match word {
            "http" | "kubernetes.io/ws" => Self::Http,
            "http2" | "kubernetes.io/h2c" => Self::Http2,
            "grpc" => Self::Grpc,
            "https" | "tls" | "kubernetes.io/wss" => Self::Tls,
            "tcp" | "mongo" | "redis" | "mysql" => Self::Tcp,
            "udp" => Self::Udp,
            _ => Self::of_number(port),
        }
    }

    /// What a port speaks of which nothing is known but its number. Servers of some well-known ports speak first: whoever
    /// waits for the client's first octets there waits for ever.
    #[must_use]
    pub const fn of_number(port: u16) -> Self {
        match port {
            25 | 53 | 3306 | 27017 => Self::Tcp,
            _ => Self::Detect,
        }
    }
}

/// What is spoken on the ports of services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protocols(BTreeMap<ServiceName, BTreeMap<u16, Protocol>>);

impl Protocols {
    /// `port` of `service` speaks `protocol`.
    pub fn insert(&mut self, service: ServiceName, port: u16, protocol: Protocol) {
        self.0.entry(service).or_default().insert(port, protocol);
    }

    /// What is spoken at `target`; of a port that no resource tells of, what its number says.
    #[must_use]
    pub fn of(&self, target: &Target) -> Protocol {
        let known = self.0.get(&target.service).and_then(|ports| ports.get(&target.port));
        known.copied().unwrap_or_else(|| Protocol::of_number(target.port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // waypoint.md §5.1, each row.
    #[test]
    fn a_port_speaks_what_it_says() {
        for (name, app_protocol, port, expected) in [
            ("http", None, 80, Protocol::Http),
            ("HTTP-web", None, 80, Protocol::Http),
            ("http2", None, 80, Protocol::Http2),
            ("http2-x", None, 80, Protocol::Http2),
            ("grpc", None, 80, Protocol::Grpc),
            ("grpc-web", None, 80, Protocol::GrpcWeb),
            ("grpc-web-x", None, 80, Protocol::GrpcWeb),
            ("grpc-webx", None, 80, Protocol::GrpcWeb),
            ("grpc-x", None, 80, Protocol::Grpc),
            ("https", None, 443, Protocol::Tls),
            ("tls-x", None, 443, Protocol::Tls),
            ("tcp", None, 80, Protocol::Tcp),
            ("mongo-x", None, 80, Protocol::Tcp),
            ("redis", None, 80, Protocol::Tcp),
            ("mysql", None, 80, Protocol::Tcp),
            ("udp-x", None, 80, Protocol::Udp),
            ("", None, 80, Protocol::Detect),
            ("httpx", None, 80, Protocol::Detect),
            ("web", None, 25, Protocol::Tcp),
            ("", None, 53, Protocol::Tcp),
            ("", None, 3306, Protocol::Tcp),
            ("", None, 27017, Protocol::Tcp),
            ("http", None, 3306, Protocol::Http),
            // What is said beats the name, even where it is not understood.
            ("http", Some("tcp"), 80, Protocol::Tcp),
            ("tcp", Some("http"), 80, Protocol::Http),
            ("http", Some("example.com/own"), 80, Protocol::Detect),
            ("", Some("http-x"), 80, Protocol::Detect),
            ("", Some("kubernetes.io/h2c"), 80, Protocol::Http2),
            ("", Some("Kubernetes.io/WS"), 80, Protocol::Http),
            ("", Some("kubernetes.io/wss"), 80, Protocol::Tls),
            ("", Some("grpc-web"), 80, Protocol::GrpcWeb),
        ] {
            let got = Protocol::of_port(name, app_protocol, false, port);
            assert_eq!(got, expected, "{name} {app_protocol:?} {port}");
        }
        assert_eq!(Protocol::of_port("http", Some("http"), true, 80), Protocol::Udp);
    }

    #[test]
    fn a_port_that_nobody_tells_of_is_looked_at() {
        let service = |name: &str| ServiceName { namespace: "ns".into(), hostname: name.into() };
        let mut protocols = Protocols::default();
        protocols.insert(service("a"), 80, Protocol::Grpc);
        let of = |name, port| protocols.of(&Target { service: service(name), port });
        assert_eq!(
            [of("a", 80), of("a", 81), of("b", 80)],
            [Protocol::Grpc, Protocol::Detect, Protocol::Detect]
        );
        assert_eq!(of("b", 3306), Protocol::Tcp);
    }
}
