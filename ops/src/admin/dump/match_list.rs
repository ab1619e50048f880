//! The keys under which the lists of a match stand.

use adit_core::mesh::MatchList;

const KEYS: [(MatchList, &str); 12] = [
    (MatchList::Namespaces, "namespaces"),
    (MatchList::NotNamespaces, "notNamespaces"),
    (MatchList::ServiceAccounts, "serviceAccounts"),
    (MatchList::NotServiceAccounts, "notServiceAccounts"),
    (MatchList::Principals, "principals"),
    (MatchList::NotPrincipals, "notPrincipals"),
    (MatchList::SourceIps, "sourceIps"),
    (MatchList::NotSourceIps, "notSourceIps"),
    (MatchList::DestinationIps, "destinationIps"),
    (MatchList::NotDestinationIps, "notDestinationIps"),
    (MatchList::DestinationPorts, "destinationPorts"),
    (MatchList::NotDestinationPorts, "notDestinationPorts"),
];

/// All lists with their keys.
pub(in crate::admin) fn all() -> impl Iterator<Item = (MatchList, &'static str)> {
    KEYS.into_iter()
}

/// The key of `list`.
pub(in crate::admin) fn key(list: MatchList) -> &'static str {
    all().find(|(known, _)| *known == list).map_or("", |(_, key)| key)
}

/// The list of this key.
pub(in crate::admin) fn named(key: &str) -> Option<MatchList> {
    all().find(|(_, known)| *known == key).map(|(list, _)| list)
}
