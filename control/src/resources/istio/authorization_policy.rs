//! `AuthorizationPolicy` (security.istio.io/v1, waypoint.md §11).
use std::sync::Arc;

use adit_core::l7::authz::{
    Action, Attribute, Clause, Condition, Match, Policy, Rule, TrustDomains, Unusable,
};
use adit_core::mesh::PolicyName;
use serde::Deserialize;
use serde_json::Value;

use super::super::problem::{Problems, Severity};
use super::super::services::Services;
use super::super::{Object, Objects, World};
use super::SECURITY_GROUP;
use super::ext_authz;
use super::mesh_config::MeshConfig;
use super::target::{Attached, attached};

/// Kind.
pub(super) const KIND: &str = "AuthorizationPolicy";
/// The annotation that puts a policy on trial.
const DRY_RUN: &str = "istio.io/dry-run";
/// Items of `serviceAccounts`, at most.
const MAX_ACCOUNTS: usize = 16;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    action: Option<String>,
    provider: Option<ProviderRef>,
    /// Read one by one, so that one that makes no sense spoils no other.
    rules: Option<Vec<Value>>,
    // What it is for is read elsewhere.
    #[serde(rename = "selector")]
    _selector: Option<Value>,
    #[serde(rename = "targetRef")]
    _target_ref: Option<Value>,
    #[serde(rename = "targetRefs")]
    _target_refs: Option<Value>,
}

#[derive(Deserialize)]
struct ProviderRef {
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RuleSpec {
    from: Vec<From>,
    to: Vec<To>,
    when: Vec<When>,
}

#[derive(Deserialize)]
struct From {
    source: Option<Source>,
}

#[derive(Deserialize)]
struct To {
    operation: Option<Operation>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Source {
    principals: Vec<String>,
    not_principals: Vec<String>,
    request_principals: Vec<String>,
    not_request_principals: Vec<String>,
    service_accounts: Vec<String>,
    not_service_accounts: Vec<String>,
    namespaces: Vec<String>,
    not_namespaces: Vec<String>,
    trust_domains: Vec<String>,
    not_trust_domains: Vec<String>,
    ip_blocks: Vec<String>,
    not_ip_blocks: Vec<String>,
    remote_ip_blocks: Vec<String>,
    not_remote_ip_blocks: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Operation {
    hosts: Vec<String>,
    not_hosts: Vec<String>,
    ports: Vec<String>,
    not_ports: Vec<String>,
    methods: Vec<String>,
    not_methods: Vec<String>,
    paths: Vec<String>,
    not_paths: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct When {
    key: String,
    #[serde(default)]
    values: Vec<String>,
    #[serde(default)]
    not_values: Vec<String>,
}

/// All policies that this waypoint goes by.
pub(super) fn translate(
    objects: &Objects,
    world: &World,
    services: &Services,
    config: &MeshConfig,
    problems: &mut Problems,
) -> Vec<Policy> {
    let aliases = config.get(&["trustDomainAliases"]).and_then(Value::as_array);
    let aliases = aliases.into_iter().flatten().filter_map(Value::as_str);
    let domains = TrustDomains::new(&world.trust_domain, aliases);
    let mut policies = Vec::new();
    for object in objects.of(SECURITY_GROUP, KIND) {
        let attached = attached(object, world, services, problems);
        if attached.targets.is_empty() {
            continue;
        }
        let mut reading = Reading { object, domains: &domains, problems: &mut *problems };
        policies.push(reading.policy(attached, config));
    }
    policies
}

/// What stands for an object that nobody could read.
pub(super) fn unreadable(object: &Object, targets: Vec<adit_core::l7::authz::Target>) -> Policy {
    Policy::unreadable(name(object), targets)
}

pub(super) fn name(object: &Object) -> PolicyName {
    PolicyName { namespace: Arc::clone(&object.namespace), name: Arc::clone(&object.name) }
}

/// A policy that is being read.
struct Reading<'a> {
    object: &'a Object,
    domains: &'a TrustDomains,
    problems: &'a mut Problems,
}

impl Reading<'_> {
    fn told(&mut self, field: impl Into<String>, severity: Severity, text: impl Into<String>) {
        self.problems.push(self.object.id(), field, severity, text);
    }

    fn policy(&mut self, Attached { targets, malformed }: Attached, config: &MeshConfig) -> Policy {
        let before = self.problems.count();
        let spec = self.object.spec::<Spec>(self.problems);
        let sound = !malformed && self.problems.count() == before;
        let dry_run = self.dry_run();
        let read = spec.filter(|_| sound).and_then(|spec| {
            let action = self.action(&spec, config)?;
            Some((action, spec))
        });
        let Some((action, spec)) = read else {
            let text = "nobody can tell whom this policy would refuse: everything that it is for is denied";
            self.told("spec", Severity::Malformed, text);
            return Policy { dry_run, ..unreadable(self.object, targets) };
        };
        let rules = spec.rules.unwrap_or_default();
        if rules.is_empty() && !matches!(action, Action::Allow) {
            self.told(
                "spec.rules",
                Severity::Note,
                "without rules the policy matches nothing and has no effect",
            );
        }
        let custom = matches!(action, Action::Custom(_));
        let rules = rules.iter().enumerate();
        let rules =
            rules.map(|(place, rule)| self.rule(&format!("spec.rules[{place}]"), rule, custom)).collect();
        Policy { name: name(self.object), action, targets, rules, dry_run }
    }

    fn dry_run(&mut self) -> bool {
        match self.object.annotations.get(DRY_RUN).map(String::as_str) {
            None | Some("false" | "0" | "f" | "F" | "False" | "FALSE") => false,
            Some("true" | "1" | "t" | "T" | "True" | "TRUE") => true,
            Some(_) => {
                let text = "expected \"true\" or \"false\": the policy is enforced";
                self.told(format!("metadata.annotations.{DRY_RUN}"), Severity::Note, text);
                false
            }
        }
    }

    /// `None`: nobody can tell what it does.
    fn action(&mut self, spec: &Spec, config: &MeshConfig) -> Option<Action> {
        let action = match spec.action.as_deref() {
            None | Some("ALLOW") => Action::Allow,
            Some("DENY") => Action::Deny,
            Some("AUDIT") => Action::Audit,
            Some("CUSTOM") => {
                let provider = match spec.provider.as_ref().map(|provider| provider.name.as_str()) {
                    None | Some("") => Err(Unusable::Unnamed),
                    Some(name) => ext_authz::provider(name, config, self.problems),
                };
                if let Err(why) = &provider {
                    self.told("spec.provider", Severity::Unresolved, why.to_string());
                }
                return Some(Action::Custom(provider));
            }
            Some(other) => {
                let text = format!("{other:?} is no action: expected ALLOW, DENY, AUDIT or CUSTOM");
                self.told("spec.action", Severity::Malformed, text);
                return None;
            }
        };
        if spec.provider.is_some() {
            let text = "only a CUSTOM policy has a provider: is CUSTOM what was meant?";
            self.told("spec.provider", Severity::Malformed, text);
            return None;
        }
        Some(action)
    }

    /// A rule. Whatever in it could not be read is a condition that is not known: with it an ALLOW rule is gone, and of other
    /// rules the rest decides.
    fn rule(&mut self, field: &str, value: &Value, custom: bool) -> Rule {
        let before = self.problems.count();
        let mut clauses = Vec::new();
        let mut unknown = |what: &str| clauses.push(clause([condition_unknown(what)]));
        let Some(spec) = self.object.read::<RuleSpec>(field, value, self.problems) else {
            unknown(field);
            return Rule::new(clauses);
        };
        if self.problems.count() > before {
            unknown(field);
        }
        let from = spec.from.iter().enumerate().map(|(place, from)| {
            self.source(&format!("{field}.from[{place}].source"), from.source.as_ref(), custom)
        });
        let from = Clause { matches: from.collect() };
        let to = spec.to.iter().enumerate().map(|(place, to)| {
            self.operation(&format!("{field}.to[{place}].operation"), to.operation.as_ref())
        });
        let to = Clause { matches: to.collect() };
        clauses.extend([from, to].into_iter().filter(|clause| !clause.matches.is_empty()));
        for (place, when) in spec.when.iter().enumerate() {
            clauses.push(clause([self.when(&format!("{field}.when[{place}]"), when, custom)]));
        }
        Rule::new(clauses)
    }

    fn source(&mut self, field: &str, source: Option<&Source>, custom: bool) -> Match {
        let Some(s) = source else { return self.empty(field) };
        let fields: [(&str, Attribute, &[String], &[String]); 7] = [
            ("principals", Attribute::Principal, &s.principals, &s.not_principals),
            (
                "requestPrincipals",
                Attribute::RequestPrincipal,
                &s.request_principals,
                &s.not_request_principals,
            ),
            ("serviceAccounts", Attribute::ServiceAccount, &s.service_accounts, &s.not_service_accounts),
            ("namespaces", Attribute::Namespace, &s.namespaces, &s.not_namespaces),
            ("trustDomains", Attribute::TrustDomain, &s.trust_domains, &s.not_trust_domains),
            ("ipBlocks", Attribute::SourceIp, &s.ip_blocks, &s.not_ip_blocks),
            ("remoteIpBlocks", Attribute::RemoteIp, &s.remote_ip_blocks, &s.not_remote_ip_blocks),
        ];
        let mut m = self.fields(field, fields, custom);
        let accounts = s.service_accounts.len().max(s.not_service_accounts.len());
        if accounts > MAX_ACCOUNTS {
            let text = format!("{accounts} service accounts, but at most {MAX_ACCOUNTS} are allowed");
            self.told(format!("{field}.serviceAccounts"), Severity::Malformed, text);
            m.conditions.push(condition_unknown(field));
        }
        let others = [&s.principals, &s.not_principals, &s.namespaces, &s.not_namespaces];
        if accounts > 0 && others.iter().any(|list| !list.is_empty()) {
            let text = "service accounts cannot stand beside principals or namespaces in one source";
            self.told(format!("{field}.serviceAccounts"), Severity::Malformed, text);
            m.conditions.push(condition_unknown(field));
        }
        m
    }

    fn operation(&mut self, field: &str, operation: Option<&Operation>) -> Match {
        let Some(o) = operation else { return self.empty(field) };
        let fields: [(&str, Attribute, &[String], &[String]); 4] = [
            ("hosts", Attribute::Host, &o.hosts, &o.not_hosts),
            ("ports", Attribute::DestinationPort, &o.ports, &o.not_ports),
            ("methods", Attribute::Method, &o.methods, &o.not_methods),
            ("paths", Attribute::Path, &o.paths, &o.not_paths),
        ];
        self.fields(field, fields, false)
    }

    fn fields<const N: usize>(
        &mut self,
        field: &str,
        fields: [(&str, Attribute, &[String], &[String]); N],
        custom: bool,
    ) -> Match {
        let mut conditions = Vec::new();
        for (name, attribute, wanted, unwanted) in fields {
            if !wanted.is_empty() || !unwanted.is_empty() {
                let field = format!("{field}.{name}");
                conditions.push(self.condition(&field, attribute, wanted, unwanted, custom));
            }
        }
        if conditions.is_empty() { self.empty(field) } else { Match { conditions } }
    }

    /// A source or an operation without any field: a cluster refuses such a policy.
    fn empty(&mut self, field: &str) -> Match {
        self.told(field, Severity::Malformed, "must have at least one field");
        Match { conditions: vec![condition_unknown(field)] }
    }

    fn when(&mut self, field: &str, when: &When, custom: bool) -> Condition {
        let Some(attribute) = Attribute::of_key(&when.key) else {
            let text = format!(
                "the key {:?} is not known to a waypoint of Adit: ALLOW rules with it never match, and others match without regard to it",
                when.key
            );
            self.told(format!("{field}.key"), Severity::Unsupported, text);
            return condition_unknown(&when.key);
        };
        if when.values.is_empty() && when.not_values.is_empty() {
            self.told(field, Severity::Malformed, "must have values or notValues");
            return condition_unknown(&when.key);
        }
        self.condition(field, attribute, &when.values, &when.not_values, custom)
    }

    fn condition(
        &mut self,
        field: &str,
        attribute: Attribute,
        wanted: &[String],
        unwanted: &[String],
        custom: bool,
    ) -> Condition {
        if custom && is_of_token(&attribute) {
            let text = "CUSTOM policies are asked before tokens are looked at: there is nothing yet that this could match";
            self.told(field, Severity::Note, text);
        }
        let expand = |list: &[String]| -> Vec<Box<str>> {
            match attribute {
                Attribute::Principal => list.iter().flat_map(|value| self.domains.expand(value)).collect(),
                _ => list.iter().map(|value| value.as_str().into()).collect(),
            }
        };
        let (wanted, unwanted) = (expand(wanted), expand(unwanted));
        let wanted: Vec<&str> = wanted.iter().map(|value| &**value).collect();
        let unwanted: Vec<&str> = unwanted.iter().map(|value| &**value).collect();
        let condition = Condition::new(attribute, &wanted, &unwanted, &self.object.namespace);
        for value in condition.unreadable() {
            let text = format!("{value:?} is no value for this: it counts as whatever refuses more");
            self.problems.push(self.object.id(), field, Severity::Malformed, text);
        }
        condition
    }
}

const fn is_of_token(attribute: &Attribute) -> bool {
    matches!(
        attribute,
        Attribute::RequestPrincipal | Attribute::Audience | Attribute::Presenter | Attribute::Claim(_)
    )
}

fn condition_unknown(what: &str) -> Condition {
    Condition::Unknown(what.into())
}

fn clause(conditions: impl Into<Vec<Condition>>) -> Clause {
    Clause { matches: vec![Match { conditions: conditions.into() }] }
}
