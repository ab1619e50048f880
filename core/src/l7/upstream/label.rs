//! Labels of endpoints, as far as the mesh's tables know them (Istio: `Subset.labels`, `failoverPriority`).
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::mesh::Workload;

/// A label whose value the tables tell. Labels of pods do not reach a data plane; what they are known for does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Label {
    /// The application: `service.istio.io/canonical-name`, `app.kubernetes.io/name` or `app`.
    App,
    /// Its version: `service.istio.io/canonical-revision`, `app.kubernetes.io/version` or `version`.
    Version,
    /// `topology.kubernetes.io/region`.
    Region,
    /// `topology.kubernetes.io/zone`.
    Zone,
    /// `topology.istio.io/subzone`.
    Subzone,
    /// `topology.istio.io/network`.
    Network,
    /// `topology.istio.io/cluster`.
    Cluster,
    /// `kubernetes.io/hostname`.
    Node,
}

impl Label {
    /// The label of this key, if it is a known one.
    #[must_use]
    pub fn named(key: &str) -> Option<Self> {
        Some(match key {
            "app" | "app.kubernetes.io/name" | "service.istio.io/canonical-name" => Self::App,
            "version" | "app.kubernetes.io/version" | "service.istio.io/canonical-revision" => Self::Version,
            "topology.kubernetes.io/region" => Self::Region,
            "topology.kubernetes.io/zone" => Self::Zone,
            "topology.istio.io/subzone" => Self::Subzone,
            "topology.istio.io/network" => Self::Network,
            "topology.istio.io/cluster" => Self::Cluster,
            "kubernetes.io/hostname" => Self::Node,
            _ => return None,
        })
    }

    /// Its value at `workload`; empty if it has none.
    #[must_use]
    pub fn of(self, workload: &Workload) -> &Arc<str> {
        match self {
            Self::App => &workload.canonical_name,
            Self::Version => &workload.canonical_revision,
            Self::Region => &workload.locality.region,
            Self::Zone => &workload.locality.zone,
            Self::Subzone => &workload.locality.subzone,
            Self::Network => &workload.network,
            Self::Cluster => &workload.cluster,
            Self::Node => &workload.node,
        }
    }
}

/// Which endpoints of a service belong to a subset.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Selector {
    /// Those that have all of these.
    Labels(Vec<(Label, Arc<str>)>),
    /// Nobody: it cannot be told who has this label.
    Unknown(Arc<str>),
}

impl Selector {
    /// The endpoints that have all of these labels; if one is not known, nobody, never everybody.
    pub fn new<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let known = labels.into_iter().map(|(key, value)| match Label::named(key) {
            Some(label) => Ok((label, value.into())),
            None => Err(key.into()),
        });
        known.collect::<Result<_, _>>().map_or_else(Self::Unknown, Self::Labels)
    }

    /// Whether `workload` belongs to it.
    #[must_use]
    pub fn holds(&self, workload: &Workload) -> bool {
        match self {
            Self::Labels(labels) => labels.iter().all(|(label, value)| label.of(workload) == value),
            Self::Unknown(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::cluster::tests::workload;
    use super::*;

    #[test]
    fn labels_that_the_tables_know_select_and_others_select_nobody() {
        let mut web = workload("web");
        (web.canonical_name, web.canonical_revision) = ("web".into(), "v1".into());
        for (labels, holds) in [
            (&[][..], true),
            (&[("version", "v1")], true),
            (&[("app", "web"), ("app.kubernetes.io/version", "v1")], true),
            (&[("app", "web"), ("version", "v2")], false),
            (&[("tier", "front")], false),
            (&[("version", "v1"), ("tier", "front")], false),
        ] {
            assert_eq!(Selector::new(labels.iter().copied()).holds(&web), holds, "{labels:?}");
        }
        assert_eq!(Selector::new([("tier", "front")]), Selector::Unknown("tier".into()));
    }
}
