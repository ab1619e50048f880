//! The names of parties, kept once for all connections that have the same party.
use alloc::collections::BTreeSet;
use alloc::sync::Arc;

use crate::proxy::observed::{Names, Party};

/// All names that connections of this shard have; a node talks to a few workloads over very many connections.
#[derive(Debug, Default)]
pub(super) struct NameTable {
    known: BTreeSet<Arc<Names>>,
    /// Names came since the last [`trim`](Self::trim).
    grown: bool,
}

impl NameTable {
    /// Has `party` use the names that others with the same names use.
    pub(super) fn share(&mut self, party: &mut Party) {
        match self.known.get(&party.names) {
            Some(known) => party.names = Arc::clone(known),
            None => {
                self.known.insert(Arc::clone(&party.names));
                self.grown = true;
            }
        }
    }

    /// Forgets names that no connection has any more.
    pub(super) fn trim(&mut self) {
        self.known.retain(|names| Arc::strong_count(names) > 1);
        self.grown = false;
    }

    /// Whether a [`trim`](Self::trim) is worth while.
    pub(super) const fn wants_trim(&self) -> bool {
        self.grown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn party(workload: &str, port: u16) -> Party {
        let names = Names { workload: Some(workload.into()), ..Names::default() };
        Party::new(Some(([127, 0, 0, 1], port).into()), names)
    }

    #[test]
    fn equal_names_are_kept_once_and_as_long_as_somebody_has_them() {
        let mut table = NameTable::default();
        let (mut a, mut b, mut other) = (party("web", 1), party("web", 2), party("db", 1));
        for party in [&mut a, &mut b, &mut other] {
            table.share(party);
        }
        assert!(Arc::ptr_eq(&a.names, &b.names));
        assert_eq!((a.address == b.address, &*other.names), (false, &*party("db", 1).names));
        drop(other);
        table.trim();
        assert_eq!(table.known.iter().collect::<std::vec::Vec<_>>(), [&a.names]);
        drop((a, b));
        table.trim();
        assert!(table.known.is_empty() && !table.wants_trim());
    }
}
