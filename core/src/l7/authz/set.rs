//! The policies of a waypoint, and those that bear on one destination.
use alloc::sync::Arc;
use alloc::vec::Vec;

use smallvec::SmallVec;

use super::policy::{Action, Policy, RuleName};
use super::provider::{Protocol, Provider, Unusable};
use super::subject::Subject;
use super::verdict::{Asked, Consulted, Decision, Denial, Judgement, OnTrial, Trial, Verdict};
use crate::l7::request::Request;
use crate::l7::target::ByTarget;
use crate::mesh::Service;

type List = Vec<Arc<Policy>>;

/// Policies with the same target, by what they do, each list in order of names.
#[derive(Clone, Debug, Default)]
struct Actions {
    custom: List,
    audit: List,
    deny: List,
    allow: List,
    /// Of any action.
    on_trial: List,
}

impl Actions {
    fn push(&mut self, policy: Arc<Policy>) {
        let list = match &policy.action {
            _ if policy.dry_run => &mut self.on_trial,
            Action::Custom(_) => &mut self.custom,
            Action::Audit => &mut self.audit,
            Action::Deny => &mut self.deny,
            Action::Allow => &mut self.allow,
        };
        list.push(policy);
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Policy>> {
        [&self.custom, &self.audit, &self.deny, &self.allow, &self.on_trial].into_iter().flatten()
    }
}

/// All policies that a waypoint goes by, found by their targets.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    by_target: ByTarget<Actions>,
}

impl Policies {
    /// Those that are given; their order means nothing.
    #[must_use]
    pub fn new(policies: impl IntoIterator<Item = Policy>) -> Self {
        let mut sorted: List = policies.into_iter().map(Arc::new).collect();
        sorted.sort_by(|one, two| one.name.cmp(&two.name));
        let mut by_target = ByTarget::default();
        for policy in sorted {
            by_target.each(&policy.targets, |actions: &mut Actions| actions.push(Arc::clone(&policy)));
        }
        Self { by_target }
    }

    /// Those that bear on traffic to `service`; `None`: to a workload by its own address (waypoint.md §11.3).
    #[must_use]
    pub fn of(&self, service: Option<&Service>) -> Set<'_> {
        Set { parts: self.by_target.of(service) }
    }
}

/// The policies that bear on one destination, all of which count together.
#[derive(Clone, Debug)]
pub struct Set<'a> {
    parts: SmallVec<[&'a Actions; 4]>,
}

impl<'a> Set<'a> {
    /// Whether there is none at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.iter().all(|part| part.all().next().is_none())
    }

    /// Whether there is a CUSTOM policy: only then a request may have to wait.
    #[must_use]
    pub fn has_custom(&self) -> bool {
        self.parts.iter().any(|part| !part.custom.is_empty())
    }

    /// Who must be asked first: each provider once, in order. Whoever of them refuses, that is the end of it; none: go on to
    /// [`Self::judge`]. At this time no token has been looked at (waypoint.md §6.2): a CUSTOM rule on `request.auth` has
    /// nothing to match.
    ///
    /// # Errors
    /// A CUSTOM rule matches, and there is nobody to ask.
    pub fn custom<R: Request>(&self, subject: &Subject<'_, R>) -> Result<SmallVec<[Asked<'a>; 2]>, Denial> {
        let mut asked: SmallVec<[Asked<'a>; 2]> = SmallVec::new();
        for policy in self.parts.iter().flat_map(|part| &part.custom) {
            let Action::Custom(provider) = &policy.action else { continue };
            let Some(by) = matched(subject, policy) else { continue };
            match usable(provider, subject.is_tcp()) {
                Err(why) => return Err(Denial::Unusable { by, why }),
                Ok(provider) if asked.iter().any(|asked| asked.provider.name == provider.name) => {}
                Ok(provider) => asked.push(Asked { provider, by }),
            }
        }
        Ok(asked)
    }

    /// What AUDIT, DENY and ALLOW policies say (waypoint.md §11.4).
    #[must_use]
    pub fn judge<R: Request>(&self, subject: &Subject<'_, R>) -> Decision {
        let first = |of: fn(&'a Actions) -> &'a List| {
            self.parts.iter().flat_map(|part| of(part)).find_map(|policy| matched(subject, policy))
        };
        let verdict = if let Some(by) = first(|part| &part.deny) {
            Verdict::Deny(Denial::Explicit(by))
        } else if self.parts.iter().all(|part| part.allow.is_empty()) {
            Verdict::Allow { by: None }
        } else {
            match first(|part| &part.allow) {
                Some(by) => Verdict::Allow { by: Some(by) },
                None => Verdict::Deny(Denial::NoneAllowed),
            }
        };
        Decision { verdict, audit: first(|part| &part.audit), on_trial: self.on_trial(subject) }
    }

    fn on_trial<R: Request>(&self, subject: &Subject<'_, R>) -> OnTrial {
        let mut said = OnTrial::default();
        for policy in self.parts.iter().flat_map(|part| &part.on_trial) {
            let by = matched(subject, policy);
            match &policy.action {
                Action::Allow => {
                    let trial = said.allow.get_or_insert(Trial { denied: true, by: None });
                    trial.by = trial.by.take().or(by);
                    trial.denied = trial.by.is_none();
                }
                Action::Deny => {
                    let trial = said.deny.get_or_insert(Trial { denied: false, by: None });
                    trial.by = trial.by.take().or(by);
                    trial.denied = trial.by.is_some();
                }
                Action::Audit | Action::Custom(_) => said.other = said.other.take().or(by),
            }
        }
        said
    }

    /// Judges, and says what every policy says.
    #[must_use]
    pub fn explain<R: Request>(&self, subject: &Subject<'_, R>) -> Judgement {
        let custom = self.custom(subject);
        let consulted = self.parts.iter().flat_map(|part| part.all()).map(|policy| Consulted {
            policy: policy.name.clone(),
            action: policy.action.as_str(),
            targets: policy.targets.clone(),
            dry_run: policy.dry_run,
            matched: subject.first_rule(policy),
        });
        Judgement {
            custom: custom.map(|asked| asked.iter().map(|asked| Arc::clone(&asked.provider.name)).collect()),
            decision: self.judge(subject),
            consulted: consulted.collect(),
        }
    }
}

fn matched<R: Request>(subject: &Subject<'_, R>, policy: &Policy) -> Option<RuleName> {
    let rule = subject.first_rule(policy)?;
    Some(RuleName { policy: policy.name.clone(), rule })
}

fn usable(provider: &Result<Arc<Provider>, Unusable>, tcp: bool) -> Result<&Arc<Provider>, Unusable> {
    let provider = provider.as_ref().map_err(Clone::clone)?;
    match &provider.protocol {
        Protocol::Http(_) if tcp => Err(Unusable::NeedsHttp(Arc::clone(&provider.name))),
        Protocol::Http(_) | Protocol::Grpc => Ok(provider),
    }
}
