//! Policies as data.
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use super::condition::Condition;
use super::provider::{Provider, Unusable};
use crate::mesh::{PolicyName, ServiceName};

/// What a match leads to (waypoint.md §11.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Admit; as soon as one ALLOW policy bears on a destination, whatever none of them matches is refused.
    Allow,
    /// Refuse, whatever others say.
    Deny,
    /// Note it, no more.
    Audit,
    /// Ask somebody, and refuse unless he agrees. Where nobody can be asked: refuse.
    Custom(Result<Arc<Provider>, Unusable>),
}

impl Action {
    /// As in resources.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Allow => "ALLOW",
            Self::Deny => "DENY",
            Self::Audit => "AUDIT",
            Self::Custom(_) => "CUSTOM",
        }
    }
}

/// What a policy is for (waypoint.md §11.1). Names of other waypoints are not here: their policies are left out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// Every waypoint of our class: all that we do.
    Class,
    /// Our own Gateway: all that we do.
    Gateway,
    /// Everything of a namespace, where nobody can tell what in it was meant.
    Namespace(Arc<str>),
    /// A Kubernetes Service.
    Service(ServiceName),
    /// All hosts of a ServiceEntry.
    ServiceEntry {
        /// Its namespace.
        namespace: Arc<str>,
        /// Its name.
        name: Arc<str>,
    },
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Class => f.write_str("the class of this waypoint"),
            Self::Gateway => f.write_str("this waypoint"),
            Self::Namespace(namespace) => write!(f, "all of namespace {namespace}"),
            Self::Service(service) => write!(f, "service {service}"),
            Self::ServiceEntry { namespace, name } => write!(f, "ServiceEntry {namespace}/{name}"),
        }
    }
}

/// Conditions that must all hold: one `source`, one `operation`, or one entry of `when`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Match {
    /// Without any it always holds.
    pub conditions: Vec<Condition>,
}

/// Holds when any of its matches does: `from` or `to`, or one entry of `when`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Clause {
    /// Without any it always holds.
    pub matches: Vec<Match>,
}

/// Holds when all its clauses do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rule {
    clauses: Vec<Clause>,
    http_only: bool,
    unknown: bool,
}

impl Rule {
    /// A rule; without clauses it always holds.
    #[must_use]
    pub fn new(clauses: Vec<Clause>) -> Self {
        let any = |is: fn(&Condition) -> bool| {
            let matches = clauses.iter().flat_map(|clause| &clause.matches);
            matches.flat_map(|m| &m.conditions).any(is)
        };
        let http_only = any(Condition::is_http_only);
        let unknown = any(|condition| matches!(condition, Condition::Unknown(_)));
        Self { clauses, http_only, unknown }
    }

    /// What must all hold.
    #[must_use]
    pub fn clauses(&self) -> &[Clause] {
        &self.clauses
    }

    /// Whether it counts at all in an ALLOW policy: not if something in it is unknown, nor for plain TCP if something in it is
    /// of HTTP (waypoint.md §11.8).
    pub(super) const fn may_allow(&self, tcp: bool) -> bool {
        !(self.unknown || (tcp && self.http_only))
    }
}

/// One policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What names it.
    pub name: PolicyName,
    /// What a match leads to.
    pub action: Action,
    /// What it is for; any of these.
    pub targets: Vec<Target>,
    /// The alternatives; without any it never matches.
    pub rules: Vec<Rule>,
    /// Only on trial (`istio.io/dry-run`): what it says is told and not done.
    pub dry_run: bool,
}

impl Policy {
    /// What stands for a policy of which more than a value could not be read: nobody can tell whom it would refuse, so it
    /// refuses everybody.
    #[must_use]
    pub fn unreadable(name: PolicyName, targets: Vec<Target>) -> Self {
        Self { name, action: Action::Deny, targets, rules: vec![Rule::default()], dry_run: false }
    }
}

/// One rule of a policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleName {
    /// The policy.
    pub policy: PolicyName,
    /// Position among its rules, from 0.
    pub rule: usize,
}

impl fmt::Display for RuleName {
    /// As in Envoy's logs under Istio (waypoint.md §11.10).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy: PolicyName { namespace, name }, rule } = self;
        write!(f, "ns[{namespace}]-policy[{name}]-rule[{rule}]")
    }
}

/// Local trust domain and its aliases: a principal of one of them is one of all of them (Istio: `trustDomainAliases`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TrustDomains(Vec<Box<str>>);

/// The trust domain that in policies stands for the local one, whatever that is.
const LOCAL: &str = "cluster.local";

impl TrustDomains {
    /// The local one, and its other names.
    #[must_use]
    pub fn new<'a>(local: &'a str, aliases: impl IntoIterator<Item = &'a str>) -> Self {
        Self([local].into_iter().chain(aliases).map(Into::into).collect())
    }

    /// All values that `principal` of a policy stands for. What is not of the form `TD/ns/NS/sa/SA`, or is of any trust domain
    /// (`*`) or of a foreign one, stands for itself.
    #[must_use]
    pub fn expand(&self, principal: &str) -> Vec<Box<str>> {
        let own = || vec![principal.into()];
        let Some((domain, path)) = principal.split_once('/').filter(|(_, path)| path.split('/').count() == 4)
        else {
            return own();
        };
        let suffix = domain.strip_prefix('*');
        let is = |local: &str| suffix.map_or(local == domain, |suffix| local.ends_with(suffix));
        if suffix == Some("") || !(domain == LOCAL || self.0.iter().any(|local| is(local))) {
            return own();
        }
        let mut all: Vec<Box<str>> = Vec::new();
        for local in &self.0 {
            // `*-td` goes on to say what it says.
            let value: Box<str> =
                if is(local) { principal.into() } else { alloc::format!("{local}/{path}").into() };
            if !all.contains(&value) {
                all.push(value);
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Istio: pilot/pkg/security/trustdomain.
    #[test]
    fn a_principal_of_one_trust_domain_is_one_of_its_aliases() {
        let domains = TrustDomains::new("new-td", ["old-td", "third"]);
        for (principal, expected) in [
            ("new-td/ns/a/sa/b", &["new-td/ns/a/sa/b", "old-td/ns/a/sa/b", "third/ns/a/sa/b"][..]),
            ("old-td/ns/a/sa/b", &["new-td/ns/a/sa/b", "old-td/ns/a/sa/b", "third/ns/a/sa/b"]),
            ("cluster.local/ns/a/sa/*", &["new-td/ns/a/sa/*", "old-td/ns/a/sa/*", "third/ns/a/sa/*"]),
            ("*-td/ns/a/sa/b", &["*-td/ns/a/sa/b", "third/ns/a/sa/b"]),
            ("*/ns/a/sa/b", &["*/ns/a/sa/b"]),
            ("other/ns/a/sa/b", &["other/ns/a/sa/b"]),
            ("*", &["*"]),
            ("*/sa/b", &["*/sa/b"]),
            ("new-td/*", &["new-td/*"]),
        ] {
            let found = domains.expand(principal);
            assert_eq!(found.iter().map(|text| &**text).collect::<Vec<_>>(), expected, "{principal}");
        }
        let alone = TrustDomains::new("td", []);
        assert_eq!(alone.expand("cluster.local/ns/a/sa/b"), ["td/ns/a/sa/b".into()]);
    }
}
