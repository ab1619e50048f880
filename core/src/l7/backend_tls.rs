//! TLS to backends that want it themselves, inside of the mesh's (Gateway API: `BackendTLSPolicy`).
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::backends::Target;
use crate::mesh::ServiceName;

/// Whose word is taken for a backend's certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TrustAnchors {
    /// Those of the system (`wellKnownCACertificates: System`).
    System,
    /// These certificates, in DER. At least one.
    These(Vec<Box<[u8]>>),
}

/// A name that a backend's certificate may have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PeerName {
    /// A DNS name; `*` in place of its first label is any one label.
    Hostname(Box<str>),
    /// A URI, to the last character.
    Uri(Box<str>),
}

/// How to speak TLS to a backend.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BackendTls {
    /// The server name that is sent.
    pub server_name: Box<str>,
    /// Who may have issued the certificate.
    pub anchors: TrustAnchors,
    /// Names of which the certificate must have one; never empty.
    pub names: Vec<PeerName>,
}

/// What is said of a port's TLS: how, or why it cannot be spoken. Then connections fail: plaintext is no way out.
pub type TlsRule = Result<Arc<BackendTls>, Arc<str>>;

/// TLS of all backends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendTlsRules(BTreeMap<(ServiceName, Option<u16>), TlsRule>);

impl BackendTlsRules {
    /// `rule` is for `port` of `service`; `None`: for those of which nothing else is said. The first one stays.
    pub fn insert(&mut self, service: ServiceName, port: Option<u16>, rule: TlsRule) {
        self.0.entry((service, port)).or_insert(rule);
    }

    /// What is said of `target`; `None`: it gets no TLS of its own.
    #[must_use]
    pub fn of(&self, target: &Target) -> Option<&TlsRule> {
        let of = |port| self.0.get(&(target.service.clone(), port));
        of(Some(target.port)).or_else(|| of(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_port_goes_before_what_is_said_of_all() {
        let service = ServiceName { namespace: "ns".into(), hostname: "a".into() };
        let why = |text: &str| -> TlsRule { Err(text.into()) };
        let mut rules = BackendTlsRules::default();
        rules.insert(service.clone(), Some(443), why("one"));
        rules.insert(service.clone(), None, why("all"));
        rules.insert(service.clone(), None, why("late"));
        let of = |port| rules.of(&Target { service: service.clone(), port }).cloned();
        assert_eq!([of(443), of(80)], [Some(why("one")), Some(why("all"))]);
        assert_eq!(BackendTlsRules::default().of(&Target { service: service.clone(), port: 80 }), None);
    }
}
