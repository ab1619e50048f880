//! One connection in the form in which policies look at it, and the plain matcher: the meaning of every field, said once.

use core::net::IpAddr;

use ipnet::IpNet;
use smallvec::SmallVec;

use super::{Action, Authorization, Clause, Facts, Match, Rule, ServiceAccount, StringMatch};
use crate::identity::Identity;
use crate::mesh::{MatchList, Unreadable};

/// The connection, prepared once for any number of policies.
pub(super) struct Subject<'a> {
    identity: Option<&'a Identity>,
    /// The identity without `spiffe://`; in place for all but the longest names.
    principal: SmallVec<[u8; 128]>,
    source: IpAddr,
    destination: IpAddr,
    port: u16,
}

impl<'a> Subject<'a> {
    pub(super) fn new(facts: &Facts<'a>) -> Self {
        let mut principal = SmallVec::new();
        if let Some(identity) = facts.source {
            let parts =
                [identity.trust_domain(), "/ns/", identity.namespace(), "/sa/", identity.service_account()];
            for part in parts {
                principal.extend_from_slice(part.as_bytes());
            }
        }
        Self {
            identity: facts.source,
            principal,
            // Policies are written in plain IPv4; a dual-stack socket may report the mapped form.
            source: facts.source_address.ip().to_canonical(),
            destination: facts.destination.ip().to_canonical(),
            port: facts.destination.port(),
        }
    }

    /// The client's namespace; the empty text without an identity.
    pub(super) fn namespace(&self) -> &[u8] {
        self.identity.map_or(b"", |identity| identity.namespace().as_bytes())
    }

    /// The identity without `spiffe://`.
    pub(super) fn principal(&self) -> Option<&[u8]> {
        self.identity.map(|_| &*self.principal)
    }

    /// Namespace and service account of the identity.
    pub(super) fn account(&self) -> Option<(&str, &str)> {
        self.identity.map(|identity| (identity.namespace(), identity.service_account()))
    }

    /// The TCP peer.
    pub(super) const fn source(&self) -> IpAddr {
        self.source
    }

    /// The address connected to.
    pub(super) const fn destination(&self) -> IpAddr {
        self.destination
    }

    /// The application's port.
    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// Position of the first rule of `policy` that holds.
    pub(super) fn first_rule(&self, policy: &Authorization) -> Option<usize> {
        policy.rules.iter().position(|rule| self.satisfies_rule(rule, policy.action))
    }

    /// Whether a rule of a policy with this action holds.
    pub(super) fn satisfies_rule(&self, rule: &Rule, action: Action) -> bool {
        rule.clauses.iter().all(|clause| self.satisfies_clause(clause, action))
    }

    fn satisfies_clause(&self, clause: &Clause, action: Action) -> bool {
        clause.matches.is_empty() || clause.matches.iter().any(|m| self.satisfies(m, action))
    }

    fn satisfies(&self, m: &Match, action: Action) -> bool {
        use MatchList as L;
        // A match that asks nothing is what istiod leaves of an L7-only one: it must not hit (datapath §6.2).
        if m.is_empty() {
            return false;
        }
        let namespace = |text: &StringMatch| text.matches(self.namespace());
        let account =
            |wanted: &ServiceAccount| self.account() == Some((&*wanted.namespace, &*wanted.service_account));
        let principal = |text: &StringMatch| self.principal().is_some_and(|p| text.matches(p));
        let source = |cidr: &IpNet| cidr.contains(&self.source);
        let destination = |cidr: &IpNet| cidr.contains(&self.destination);
        let port = |port: &u16| *port == self.port;
        let read = Reading { unreadable: m.unreadable, action };
        read.wanted(L::Namespaces, &m.namespaces, namespace)
            && read.unwanted(L::NotNamespaces, &m.not_namespaces, namespace)
            && read.wanted(L::ServiceAccounts, &m.service_accounts, account)
            && read.unwanted(L::NotServiceAccounts, &m.not_service_accounts, account)
            && read.wanted(L::Principals, &m.principals, principal)
            && read.unwanted(L::NotPrincipals, &m.not_principals, principal)
            && read.wanted(L::SourceIps, &m.source_ips, source)
            && read.unwanted(L::NotSourceIps, &m.not_source_ips, source)
            && read.wanted(L::DestinationIps, &m.destination_ips, destination)
            && read.unwanted(L::NotDestinationIps, &m.not_destination_ips, destination)
            && read.wanted(L::DestinationPorts, &m.destination_ports, port)
            && read.unwanted(L::NotDestinationPorts, &m.not_destination_ports, port)
    }
}

/// How the lists of one match are read, given what could not be (see [`Unreadable`]).
struct Reading {
    unreadable: Unreadable,
    action: Action,
}

impl Reading {
    /// Something wanted hits, or nothing is wanted.
    fn wanted<T>(&self, name: MatchList, list: &[T], hits: impl Fn(&T) -> bool) -> bool {
        let unreadable = self.unreadable.contains(name);
        (list.is_empty() && !unreadable)
            || (unreadable && self.action == Action::Deny)
            || list.iter().any(hits)
    }

    /// Nothing unwanted hits.
    fn unwanted<T>(&self, name: MatchList, list: &[T], hits: impl Fn(&T) -> bool) -> bool {
        !(self.unreadable.contains(name) && self.action == Action::Allow) && !list.iter().any(hits)
    }
}
