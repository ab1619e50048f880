//! Who the parties of connections are: names kept once for all connections that have the same party.
use alloc::sync::Arc;

use super::interned::Interned;
use super::report;
use crate::identity::Identity;
use crate::mesh::Workload;
use crate::proxy::observed::Names;

/// How many parties are remembered by their entry in the tables.
const RECENT: usize = 8;

/// A party as it was last asked for.
#[derive(Debug)]
struct Recent {
    workload: Arc<Workload>,
    proven: Option<Identity>,
    names: Arc<Names>,
}

/// The names of parties. Most connections are between the same few, whose names are found without being put together.
#[derive(Debug, Default)]
pub(super) struct Parties {
    known: Interned<Names>,
    recent: [Option<Recent>; RECENT],
    /// Which of `recent` is replaced next.
    next: usize,
}

impl Parties {
    /// The names of `workload`, which has proven to be `proven`.
    pub(super) fn of(&mut self, workload: &Arc<Workload>, proven: Option<&Identity>) -> Arc<Names> {
        let is_asked_for =
            |recent: &&Recent| Arc::ptr_eq(&recent.workload, workload) && recent.proven.as_ref() == proven;
        if let Some(recent) = self.recent.iter().flatten().find(is_asked_for) {
            return Arc::clone(&recent.names);
        }
        let names = self.share(report::names(workload, proven.cloned()));
        if let Some(place) = self.recent.get_mut(self.next) {
            let (workload, names) = (Arc::clone(workload), Arc::clone(&names));
            *place = Some(Recent { workload, proven: proven.cloned(), names });
        }
        self.next = self.next.saturating_add(1).checked_rem(RECENT).unwrap_or_default();
        names
    }

    /// These names, kept once.
    pub(super) fn share(&mut self, names: Names) -> Arc<Names> {
        let mut names = Arc::new(names);
        self.known.share(&mut names);
        names
    }

    /// Some of what is known may be forgotten: the next [`trim`](Self::trim) is worth while.
    pub(super) const fn loosen(&mut self) {
        self.known.loosen();
    }

    /// How many names are known.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Forgets what no connection has any more.
    pub(super) fn trim(&mut self) {
        self.recent = Default::default();
        self.known.trim();
    }

    /// Whether a [`trim`](Self::trim) is worth while.
    pub(super) fn wants_trim(&self) -> bool {
        self.known.wants_trim() || self.recent.iter().any(Option::is_some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_party_has_the_same_names_until_its_entry_or_what_it_proved_is_another() {
        let identity = |name| Identity::new("cluster.local", "ns", name).unwrap();
        let workload = Arc::new(Workload::new("uid", "web-1", identity("web")));
        let (web, db) = (identity("web"), identity("db"));
        let mut parties = Parties::default();
        let first = parties.of(&workload, Some(&web));
        assert_eq!((first.workload.as_deref(), first.identity.as_ref()), (Some("web-1"), Some(&web)));
        assert!(Arc::ptr_eq(&first, &parties.of(&workload, Some(&web))));
        assert_eq!(parties.of(&workload, Some(&db)).identity.as_ref(), Some(&db));
        assert_eq!(parties.of(&workload, None).identity, None);
        // A push gave it another entry, which says the same.
        let again = Arc::new(Workload::clone(&workload));
        assert!(Arc::ptr_eq(&first, &parties.of(&again, Some(&web))));
        let mut renamed = Workload::clone(&workload);
        renamed.name = "web-2".into();
        assert_eq!(parties.of(&Arc::new(renamed), Some(&web)).workload.as_deref(), Some("web-2"));
        // More than are remembered.
        for n in 0..3 * RECENT {
            let other = Arc::new(Workload::new("uid", &std::format!("other-{n}"), identity("web")));
            parties.of(&other, None);
        }
        assert!(Arc::ptr_eq(&first, &parties.of(&workload, Some(&web))));

        parties.trim();
        assert_eq!(Arc::strong_count(&first), 2, "ours, and what is kept for others");
        assert_eq!(Arc::strong_count(&workload), 1);
        drop(first);
        parties.trim();
        assert!(!parties.wants_trim());
    }
}
