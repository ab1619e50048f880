//! A sorted set with structural sharing: a copy costs one pointer, a change copies the nodes on one path from the root,
//! and copies nothing where nobody else holds them.
//!
//! A B-tree whose leaves hold the entries. Its order is fixed by the entries alone, so two sets with the same entries
//! are walked alike, whatever changes led there.

mod node;

use alloc::sync::Arc;
use alloc::vec;
use core::cmp::Ordering;
use core::slice;

use node::{Child, Node};
use smallvec::SmallVec;

/// What an [`Index`] holds. Two entries that compare equal are the same entry, of which the later one stays.
pub(super) trait Entry: Clone + Ord {
    /// A number that orders most entries without looking behind their pointers. It agrees with the full order:
    /// `a <= b` implies `a.mark() <= b.mark()`, so the same number for all entries is always right.
    fn mark(&self) -> u64;
}

/// The set.
#[derive(Clone, Debug)]
pub(super) struct Index<E> {
    /// `None` when empty.
    root: Option<Arc<Node<E>>>,
    len: usize,
}

impl<E> Default for Index<E> {
    fn default() -> Self {
        Self { root: None, len: 0 }
    }
}

impl<E: Entry> Index<E> {
    /// How many entries there are.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub(super) const fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// All entries, in order.
    pub(super) fn iter(&self) -> Iter<'_, E> {
        let mut iter = Iter::empty();
        if let Some(root) = &self.root {
            iter.descend(root);
        }
        iter
    }

    /// The entries from the first one on that is not `Less` than what is sought: `mark` is that thing's mark, `order`
    /// compares an entry of the same mark with it.
    pub(super) fn from(&self, mark: u64, order: impl Fn(&E) -> Ordering) -> Iter<'_, E> {
        let mut iter = Iter::empty();
        let Some(mut node) = self.root.as_deref() else { return iter };
        let before = |entry: &E| entry.mark().cmp(&mark).then_with(|| order(entry)) == Ordering::Less;
        loop {
            match node {
                Node::Leaf(entries) => {
                    let at = entries.partition_point(before);
                    iter.leaf = entries.get(at..).unwrap_or_default().iter();
                    return iter;
                }
                Node::Branch(children) => {
                    let at = node::child_before(children, mark, |entry| order(entry) == Ordering::Less);
                    let mut rest = children.get(at..).unwrap_or_default().iter();
                    let Some(child) = rest.next() else { return iter };
                    iter.above.push(rest);
                    node = &child.node;
                }
            }
        }
    }

    /// The entries that are `Equal` to what is sought, which are neighbours.
    pub(super) fn range<F: Fn(&E) -> Ordering>(
        &self,
        mark: u64,
        order: F,
    ) -> impl Iterator<Item = &E> + use<'_, E, F> {
        self.from(mark, &order)
            .take_while(move |entry| entry.mark() == mark && order(entry) == Ordering::Equal)
    }

    /// The one entry that is `Equal` to what is sought, to change in ways that do not bear on its order.
    pub(super) fn get_mut(&mut self, mark: u64, order: impl Fn(&E) -> Ordering) -> Option<&mut E> {
        // Nothing is copied for what is not there.
        self.range(mark, &order).next()?;
        let mut node = self.root.as_mut()?;
        loop {
            match Arc::make_mut(node) {
                Node::Leaf(entries) => {
                    let at = node::position(entries, mark, &order).ok()?;
                    return entries.get_mut(at);
                }
                Node::Branch(children) => {
                    let at = node::child_before(children, mark, |entry| order(entry) != Ordering::Greater);
                    node = &mut children.get_mut(at)?.node;
                }
            }
        }
    }

    /// Puts `entry` in; returns the one that it takes the place of.
    pub(super) fn insert(&mut self, entry: E) -> Option<E> {
        let Some(root) = &mut self.root else {
            self.root = Some(Arc::new(Node::Leaf(vec![entry])));
            self.len = 1;
            return None;
        };
        let (replaced, split) = Node::insert(root, entry);
        if let Some(right) = split {
            let left = Arc::clone(root);
            *root = Arc::new(Node::Branch(vec![Child::new(left), Child::new(right)]));
        }
        if replaced.is_none() {
            self.len = self.len.saturating_add(1);
        }
        replaced
    }

    /// Takes the entry out that is `Equal` to what is sought.
    pub(super) fn remove(&mut self, mark: u64, order: impl Fn(&E) -> Ordering) -> Option<E> {
        self.range(mark, &order).next()?;
        let root = self.root.as_mut()?;
        let removed = Node::remove(root, mark, &order)?;
        self.len = self.len.saturating_sub(1);
        // A branch with one child is a level too many.
        while let Node::Branch(children) = &**root
            && let [only] = children.as_slice()
        {
            *root = Arc::clone(&only.node);
        }
        if root.is_empty() {
            self.root = None;
        }
        Some(removed)
    }
}

/// Entries in order.
#[derive(Debug)]
pub(super) struct Iter<'a, E> {
    /// What is left in each branch above `leaf`, the root's first.
    above: SmallVec<[slice::Iter<'a, Child<E>>; 4]>,
    leaf: slice::Iter<'a, E>,
}

impl<E> Clone for Iter<'_, E> {
    fn clone(&self) -> Self {
        Self { above: self.above.clone(), leaf: self.leaf.clone() }
    }
}

impl<'a, E> Iter<'a, E> {
    /// Of nothing.
    pub(super) fn empty() -> Self {
        Self { above: SmallVec::new(), leaf: [].iter() }
    }

    /// Goes to the first leaf under `node`.
    fn descend(&mut self, mut node: &'a Node<E>) {
        loop {
            match node {
                Node::Leaf(entries) => {
                    self.leaf = entries.iter();
                    return;
                }
                Node::Branch(children) => {
                    let mut rest = children.iter();
                    let Some(first) = rest.next() else { return };
                    self.above.push(rest);
                    node = &first.node;
                }
            }
        }
    }
}

impl<'a, E> Iterator for Iter<'a, E> {
    type Item = &'a E;

    fn next(&mut self) -> Option<&'a E> {
        loop {
            if let Some(entry) = self.leaf.next() {
                return Some(entry);
            }
            match self.above.last_mut()?.next() {
                Some(child) => self.descend(&child.node),
                None => drop(self.above.pop()),
            }
        }
    }
}

#[cfg(test)]
mod tests;
