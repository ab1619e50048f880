//! Things kept once for all that have them in common.
use alloc::collections::BTreeSet;
use alloc::sync::Arc;

/// A node talks to a few workloads, whose certificates few authorities have issued, over very many connections.
#[derive(Debug)]
pub(super) struct Interned<T: ?Sized> {
    known: BTreeSet<Arc<T>>,
    /// Something came, or may go, since the last [`trim`](Self::trim).
    grown: bool,
}

impl<T: ?Sized> Default for Interned<T> {
    fn default() -> Self {
        Self { known: BTreeSet::new(), grown: false }
    }
}

impl<T: ?Sized + Ord> Interned<T> {
    /// Has `this` be the one that others of the same value have.
    pub(super) fn share(&mut self, this: &mut Arc<T>) {
        match self.known.get(this) {
            Some(known) => *this = Arc::clone(known),
            None => {
                self.known.insert(Arc::clone(this));
                self.grown = true;
            }
        }
    }

    /// Some of what is known may be forgotten: the next [`trim`](Self::trim) is worth while.
    pub(super) const fn loosen(&mut self) {
        self.grown = true;
    }

    /// How many values are known.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Forgets what nobody else has any more.
    pub(super) fn trim(&mut self) {
        self.known.retain(|known| Arc::strong_count(known) > 1);
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

    #[test]
    fn equal_things_are_kept_once_and_as_long_as_somebody_has_them() {
        let mut table = Interned::<str>::default();
        let [mut a, mut b, mut other] = ["web", "web", "db"].map(Arc::from);
        for text in [&mut a, &mut b, &mut other] {
            table.share(text);
        }
        assert!(Arc::ptr_eq(&a, &b));
        assert_eq!(&*other, "db");
        drop(other);
        table.trim();
        assert_eq!(table.known.iter().collect::<std::vec::Vec<_>>(), [&a]);
        drop((a, b));
        table.trim();
        assert!(table.known.is_empty() && !table.wants_trim());
    }
}
