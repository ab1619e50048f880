//! One of `policies`. What cannot be read is noted in the policy too, so that it admits nobody for the sake of it.

use adit_core::mesh::{
    Action, Authorization, Clause, Match, MatchList, PolicyScope, Rule, ServiceAccount, StringMatch,
    Unreadable,
};
use serde_json::Value;

use super::value::{Fields, Wrong, at, cidr, flag, port, shared, step, text, word};
use crate::admin::dump::match_list;

const SCOPE: &str = "Global, Namespace or WorkloadSelector";
const SCOPES: &[(&str, PolicyScope)] = &[
    ("Global", PolicyScope::Global),
    ("Namespace", PolicyScope::Namespace),
    ("WorkloadSelector", PolicyScope::WorkloadSelector),
];
const ACTION: &str = "Allow or Deny";
const ACTIONS: &[(&str, Action)] = &[("Allow", Action::Allow), ("Deny", Action::Deny)];

/// The policy, and what could not be read of it. The error is that of a policy of which not even the name is known.
pub(super) fn policy(value: &Value) -> Result<(Authorization, Vec<Wrong>), Wrong> {
    let fields = Fields::of(value)?;
    let namespace = fields.need("namespace", "the policy's namespace", shared)?;
    let name = fields.need("name", "the policy's name", shared)?;
    let scope = fields.need("scope", SCOPE, word(SCOPES, SCOPE));
    let mut notes = Vec::new();
    let rest = rest(fields, &mut notes);
    let policy = match (scope, rest) {
        (Ok(scope), Ok((action, rules, dry_run))) => {
            Authorization { namespace, name, scope, action, rules, dry_run }
        }
        (scope, rest) => {
            let known = scope.as_ref().copied().unwrap_or(PolicyScope::Namespace);
            notes.extend(scope.err());
            notes.extend(rest.err());
            Authorization::unreadable(namespace, name, known)
        }
    };
    Ok((policy, notes))
}

fn rest(fields: Fields<'_>, notes: &mut Vec<Wrong>) -> Result<(Action, Vec<Rule>, bool), Wrong> {
    let rule = |value: &Value, notes: &mut _| Ok(Rule { clauses: nested(value, notes, clause)? });
    let before = notes.len();
    let rules = fields.or_default("rules", |value| nested(value, notes, rule));
    for note in notes.iter_mut().skip(before) {
        note.path.insert_str(0, &step("rules"));
    }
    Ok((fields.need("action", ACTION, word(ACTIONS, ACTION))?, rules?, fields.or_default("dryRun", flag)?))
}

fn clause(value: &Value, notes: &mut Vec<Wrong>) -> Result<Clause, Wrong> {
    Ok(Clause { matches: nested(value, notes, conditions)? })
}

/// A list of which each entry may leave notes; these get their position in the list.
fn nested<T>(
    value: &Value,
    notes: &mut Vec<Wrong>,
    read: impl Fn(&Value, &mut Vec<Wrong>) -> Result<T, Wrong>,
) -> Result<Vec<T>, Wrong> {
    let entries = value.as_array().ok_or_else(|| Wrong::new(value, "a list"))?;
    let mut done = Vec::with_capacity(entries.len());
    for (position, entry) in entries.iter().enumerate() {
        let mut own = Vec::new();
        let read = read(entry, &mut own);
        notes.extend(own.into_iter().map(|note| at(note, position)));
        done.push(read.map_err(|wrong| at(wrong, position))?);
    }
    Ok(done)
}

fn conditions(value: &Value, notes: &mut Vec<Wrong>) -> Result<Match, Wrong> {
    use MatchList as List;
    let mut read = Conditions { fields: Fields::of(value)?, unreadable: Unreadable::default(), notes };
    let mut conditions = Match {
        namespaces: read.list(List::Namespaces, pattern),
        not_namespaces: read.list(List::NotNamespaces, pattern),
        service_accounts: read.list(List::ServiceAccounts, account),
        not_service_accounts: read.list(List::NotServiceAccounts, account),
        principals: read.list(List::Principals, pattern),
        not_principals: read.list(List::NotPrincipals, pattern),
        source_ips: read.list(List::SourceIps, cidr),
        not_source_ips: read.list(List::NotSourceIps, cidr),
        destination_ips: read.list(List::DestinationIps, cidr),
        not_destination_ips: read.list(List::NotDestinationIps, cidr),
        destination_ports: read.list(List::DestinationPorts, port),
        not_destination_ports: read.list(List::NotDestinationPorts, port),
        unreadable: Unreadable::default(),
    };
    // Only Adit says which entries its control plane sent and it could not read.
    let names = read.fields.list("unreadable", |value| {
        let list = match_list::named(text(value)?);
        list.ok_or_else(|| Wrong::new(value, "the key of a list of this match"))
    })?;
    names.into_iter().for_each(|list| read.unreadable.add(list));
    conditions.unreadable = read.unreadable;
    Ok(conditions)
}

/// The lists of one match, on their way.
struct Conditions<'a> {
    fields: Fields<'a>,
    unreadable: Unreadable,
    notes: &'a mut Vec<Wrong>,
}

impl Conditions<'_> {
    /// What can be read of a list.
    fn list<T>(&mut self, list: MatchList, read: impl Fn(&Value) -> Result<T, Wrong>) -> Vec<T> {
        let key = match_list::key(list);
        let entries = self.fields.list(key, |value| Ok(read(value)));
        let entries = entries.unwrap_or_else(|wrong| {
            self.note(list, wrong);
            Vec::new()
        });
        let mut readable = Vec::with_capacity(entries.len());
        for (position, entry) in entries.into_iter().enumerate() {
            match entry {
                Ok(entry) => readable.push(entry),
                Err(wrong) => self.note(list, at(wrong, position).under(key)),
            }
        }
        readable
    }

    fn note(&mut self, list: MatchList, wrong: Wrong) {
        self.unreadable.add(list);
        self.notes.push(wrong);
    }
}

/// `{"Exact": s}`, `{"Prefix": s}`, `{"Suffix": s}` or `{"Presence": []}`.
fn pattern(value: &Value) -> Result<StringMatch, Wrong> {
    let expected = "one of {\"Exact\": s}, {\"Prefix\": s}, {\"Suffix\": s} and {\"Presence\": []}";
    let mut fields = value.as_object().into_iter().flatten();
    let (Some((kind, of)), None) = (fields.next(), fields.next()) else {
        return Err(Wrong::new(value, expected));
    };
    let text = || shared(of).map_err(|wrong| wrong.under(kind));
    match kind.as_str() {
        "Exact" => text().map(StringMatch::Exact),
        "Prefix" => text().map(StringMatch::Prefix),
        "Suffix" => text().map(StringMatch::Suffix),
        "Presence" => Ok(StringMatch::Presence),
        _ => Err(Wrong::new(value, expected)),
    }
}

fn account(value: &Value) -> Result<ServiceAccount, Wrong> {
    let fields = Fields::of(value)?;
    Ok(ServiceAccount {
        namespace: fields.need("namespace", "the service account's namespace", shared)?,
        service_account: fields.need("serviceAccount", "the service account's name", shared)?,
    })
}
