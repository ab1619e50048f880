//! Authorization policies as data (`istio.security.Authorization`, datapath §6.1–6.3); [`crate::policy`] judges by them.
//!
//! Nesting: a policy matches when **any** rule does, a rule when **all** its clauses do, a clause when **any** of its
//! matches does. A policy without rules never matches, a rule without clauses and a clause without matches always do,
//! a match without any field never does. (istiod calls the levels groups → rules → matches.)

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use ipnet::IpNet;

/// Key of a policy, written `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyName {
    /// Namespace that defines it.
    pub namespace: Arc<str>,
    /// Its name there.
    pub name: Arc<str>,
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Which workloads a policy applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All.
    Global,
    /// Those of the policy's namespace.
    Namespace,
    /// Those that list it in [`Common::authorization_policies`](super::Common::authorization_policies).
    WorkloadSelector,
}

/// What a match leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Admit; as soon as one ALLOW policy applies to a workload, whatever none of them matches is refused.
    Allow,
    /// Refuse, whatever others say.
    Deny,
}

/// How one text is compared (`StringMatch`); always case-sensitive.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StringMatch {
    /// Equal.
    Exact(Arc<str>),
    /// Begins with.
    Prefix(Arc<str>),
    /// Ends with.
    Suffix(Arc<str>),
    /// Not empty.
    Presence,
}

impl StringMatch {
    /// Whether `value` satisfies it.
    #[must_use]
    pub fn matches(&self, value: impl AsRef<[u8]>) -> bool {
        let value = value.as_ref();
        match self {
            Self::Exact(text) => value == text.as_bytes(),
            Self::Prefix(text) => value.starts_with(text.as_bytes()),
            Self::Suffix(text) => value.ends_with(text.as_bytes()),
            Self::Presence => !value.is_empty(),
        }
    }
}

/// A service account of any trust domain (`ServiceAccountMatch`); both parts are compared exactly.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceAccount {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub service_account: Arc<str>,
}

/// One list of a [`Match`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MatchList {
    /// [`Match::namespaces`].
    Namespaces,
    /// [`Match::not_namespaces`].
    NotNamespaces,
    /// [`Match::service_accounts`].
    ServiceAccounts,
    /// [`Match::not_service_accounts`].
    NotServiceAccounts,
    /// [`Match::principals`].
    Principals,
    /// [`Match::not_principals`].
    NotPrincipals,
    /// [`Match::source_ips`].
    SourceIps,
    /// [`Match::not_source_ips`].
    NotSourceIps,
    /// [`Match::destination_ips`].
    DestinationIps,
    /// [`Match::not_destination_ips`].
    NotDestinationIps,
    /// [`Match::destination_ports`].
    DestinationPorts,
    /// [`Match::not_destination_ports`].
    NotDestinationPorts,
}

/// Which lists of a [`Match`] held an entry that nobody could read: a CIDR of a wrong length, a port above 65535, a text
/// match of no known kind.
///
/// Whoever loads a policy leaves such an entry out of the list and notes the list here. What the entry would have said
/// is unknown, so the policy is taken at its strictest: in an ALLOW policy an unreadable entry that is wanted never hits
/// and one that is not wanted always does; in a DENY policy it is the other way round. Nobody is admitted for the sake of
/// an entry that could not be read. (ztunnel drops it, which can turn "some" into "any".)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Unreadable(u16);

impl Unreadable {
    const fn bit(list: MatchList) -> u16 {
        1 << list as u8
    }

    /// Notes that `list` had an unreadable entry.
    pub const fn add(&mut self, list: MatchList) {
        self.0 |= Self::bit(list);
    }

    /// Whether `list` had one.
    #[must_use]
    pub const fn contains(self, list: MatchList) -> bool {
        self.0 & Self::bit(list) != 0
    }

    /// Whether no list had one.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Conditions that must all hold. Each is a list of which one entry must hit (an empty list asks nothing) and a
/// `not_` list of which none may.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Match {
    /// Namespace of the client's identity; the empty text without an identity.
    pub namespaces: Vec<StringMatch>,
    /// None of these namespaces.
    pub not_namespaces: Vec<StringMatch>,
    /// Service account of the client's identity.
    pub service_accounts: Vec<ServiceAccount>,
    /// None of these service accounts.
    pub not_service_accounts: Vec<ServiceAccount>,
    /// The client's identity without `spiffe://`; nothing hits without an identity.
    pub principals: Vec<StringMatch>,
    /// None of these principals; with [`StringMatch::Presence`]: "the client has no identity".
    pub not_principals: Vec<StringMatch>,
    /// The TCP peer's address.
    pub source_ips: Vec<IpNet>,
    /// None of these source addresses.
    pub not_source_ips: Vec<IpNet>,
    /// The address connected to.
    pub destination_ips: Vec<IpNet>,
    /// None of these destination addresses.
    pub not_destination_ips: Vec<IpNet>,
    /// The application's port, never that of HBONE.
    pub destination_ports: Vec<u16>,
    /// None of these ports.
    pub not_destination_ports: Vec<u16>,
    /// Lists that had entries which could not be read.
    pub unreadable: Unreadable,
}

impl Match {
    /// Whether it asks nothing at all; such a match never holds (datapath §6.2).
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.namespaces.is_empty()
            && self.not_namespaces.is_empty()
            && self.service_accounts.is_empty()
            && self.not_service_accounts.is_empty()
            && self.principals.is_empty()
            && self.not_principals.is_empty()
            && self.source_ips.is_empty()
            && self.not_source_ips.is_empty()
            && self.destination_ips.is_empty()
            && self.not_destination_ips.is_empty()
            && self.destination_ports.is_empty()
            && self.not_destination_ports.is_empty()
            && self.unreadable.is_empty()
    }
}

/// Holds when any match does, or when there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Clause {
    /// The alternatives.
    pub matches: Vec<Match>,
}

/// Holds when all clauses do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rule {
    /// The conditions.
    pub clauses: Vec<Clause>,
}

/// One policy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authorization {
    /// Namespace that defines it.
    pub namespace: Arc<str>,
    /// Its name there.
    pub name: Arc<str>,
    /// Which workloads it applies to.
    pub scope: Scope,
    /// What a match leads to.
    pub action: Action,
    /// The alternatives; without any the policy never matches.
    pub rules: Vec<Rule>,
    /// Only logged, never enforced.
    pub dry_run: bool,
}

impl Authorization {
    /// What stands for a policy of which more than an entry is unreadable, such as its action: nobody can tell whom it
    /// would refuse, so it refuses everybody. Where the scope is unknown too, take [`Scope::Namespace`].
    #[must_use]
    pub fn unreadable(namespace: Arc<str>, name: Arc<str>, scope: Scope) -> Self {
        let rules = alloc::vec![Rule::default()];
        Self { namespace, name, scope, action: Action::Deny, rules, dry_run: false }
    }

    /// Its key as a value.
    #[must_use]
    pub fn policy_name(&self) -> PolicyName {
        PolicyName { namespace: Arc::clone(&self.namespace), name: Arc::clone(&self.name) }
    }

    /// Its key as workloads list it: `namespace/name`.
    #[must_use]
    pub fn key(&self) -> String {
        alloc::format!("{}/{}", self.namespace, self.name)
    }
}
