//! Which places go first, and who takes over when they fail (Istio: `localityLbSetting`).
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::str::FromStr;

use super::label::Label;
use crate::mesh::{Locality, Workload};

/// Which places go first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum LocalityRule {
    /// Nothing is said: what the service itself prefers (Kubernetes: `trafficDistribution`); if it prefers nothing and outliers
    /// are detected, what is near.
    #[default]
    Default,
    /// `enabled: false`: all places are equal.
    Off,
    /// `distribute`: shares.
    Distribute(Vec<Distribute>),
    /// `failover`: what is near, and from a region (left) rather to this one (right) than to others. It takes detected outliers.
    Failover(Vec<(Arc<str>, Arc<str>)>),
    /// `failoverPriority`: the more of these in their order are the same, the better. It takes detected outliers.
    Priority(Vec<PriorityLabel>),
}

/// A condition of `failoverPriority`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PriorityLabel {
    /// The label.
    pub label: Label,
    /// The value that endpoints must have; `None`: that of the proxy.
    pub value: Option<Arc<str>>,
}

/// Shares of places for clients at one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Distribute {
    /// Where the proxy is.
    pub from: LocalityPattern,
    /// The share of each place, in percent.
    pub to: Vec<(LocalityPattern, u32)>,
}

/// A place or several: `region/zone/subzone`, where the last part may be `*`, and parts that are missing may be anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LocalityPattern(Vec<Arc<str>>);

/// A text is no place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{0:?} is no locality: expected region[/zone[/subzone]], and * at most at its end")]
pub struct PatternError(pub Arc<str>);

impl FromStr for LocalityPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let mut parts: Vec<&str> = text.split('/').collect();
        if parts.last() == Some(&"*") {
            parts.pop();
        }
        let bad = parts.len() > 3 || parts.iter().any(|part| part.is_empty() || part.contains('*'));
        if bad {
            return Err(PatternError(text.into()));
        }
        Ok(Self(parts.into_iter().map(Into::into).collect()))
    }
}

impl LocalityPattern {
    /// Whether `place` is of it.
    #[must_use]
    pub fn holds(&self, place: &Locality) -> bool {
        let place = [&place.region, &place.zone, &place.subzone];
        self.0.iter().zip(place).all(|(wanted, part)| wanted == part)
    }

    /// How many parts are said.
    const fn specific(&self) -> usize {
        self.0.len()
    }
}

/// Which level `endpoint` is of, as seen from `local`: 0 goes first.
pub(super) fn failover_level(regions: &[(Arc<str>, Arc<str>)], local: &Locality, endpoint: &Locality) -> u16 {
    if local.region != endpoint.region {
        let preferred = regions.iter().find(|(from, _)| *from == local.region);
        return if preferred.is_some_and(|(_, to)| *to != endpoint.region) { 4 } else { 3 };
    }
    match (local.zone == endpoint.zone, local.subzone == endpoint.subzone) {
        (true, true) => 0,
        (true, false) => 1,
        (false, _) => 2,
    }
}

/// As [`failover_level`], by labels.
pub(super) fn priority_level(labels: &[PriorityLabel], local: &Workload, endpoint: &Workload) -> u16 {
    let same = |wanted: &&PriorityLabel| {
        let value = wanted.value.as_ref().unwrap_or_else(|| wanted.label.of(local));
        value == wanted.label.of(endpoint)
    };
    let matched = labels.iter().take_while(same).count();
    u16::try_from(labels.len().saturating_sub(matched)).unwrap_or(u16::MAX)
}

/// Which of `places` is said for `place`: that which says most.
pub(super) fn share_of(places: &[(LocalityPattern, u32)], place: &Locality) -> Option<u16> {
    let here = (0_u16..).zip(places).filter(|(_, (pattern, _))| pattern.holds(place));
    here.max_by_key(|(_, (pattern, _))| pattern.specific()).map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::super::cluster::tests::workload;
    use super::*;

    fn place(text: &str) -> Locality {
        let mut parts = text.split('/').map(Into::into);
        let mut part = || parts.next().unwrap_or_default();
        Locality { region: part(), zone: part(), subzone: part() }
    }

    #[test]
    fn near_places_go_first_and_the_named_region_before_others() {
        let regions = [("us".into(), "eu".into())];
        for (endpoint, plain, named) in
            [("us/a/1", 0, 0), ("us/a/2", 1, 1), ("us/b/1", 2, 2), ("eu/a/1", 3, 3), ("asia/a/1", 3, 4)]
        {
            let level = |regions: &[_]| failover_level(regions, &place("us/a/1"), &place(endpoint));
            assert_eq!((level(&[]), level(&regions)), (plain, named), "{endpoint}");
        }
    }

    #[test]
    fn labels_count_until_the_first_that_differs() {
        let at = |network: &str, region: &str| {
            let mut it = workload("w");
            (it.network, it.locality) = (network.into(), place(region));
            it
        };
        let labels = [
            PriorityLabel { label: Label::Network, value: None },
            PriorityLabel { label: Label::Region, value: Some("eu".into()) },
        ];
        let local = at("n1", "us");
        for (network, region, expected) in
            [("n1", "eu", 0), ("n1", "us", 1), ("n2", "eu", 2), ("n2", "us", 2)]
        {
            assert_eq!(priority_level(&labels, &local, &at(network, region)), expected, "{network} {region}");
        }
    }

    #[test]
    fn patterns_hold_for_what_they_say_and_the_longest_counts() {
        for (pattern, yes, no) in
            [("*", "us/a/1", None), ("us/*", "us/b", Some("eu/b")), ("us/a/1", "us/a/1", Some("us/a/2"))]
        {
            let pattern: LocalityPattern = pattern.parse().unwrap();
            assert!(pattern.holds(&place(yes)) && no.is_none_or(|no| !pattern.holds(&place(no))));
        }
        for bad in ["", "us//a", "*/a", "us/a*", "a/b/c/d"] {
            assert_eq!(bad.parse::<LocalityPattern>(), Err(PatternError(bad.into())));
        }
        let places = [("us/*".parse().unwrap(), 80), ("us/a/*".parse().unwrap(), 20)];
        let share = |text| share_of(&places, &place(text));
        assert_eq!([share("us/a/1"), share("us/b"), share("eu/a")], [Some(1), Some(0), None]);
    }
}
