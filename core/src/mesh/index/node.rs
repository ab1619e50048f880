//! The nodes of the tree behind an [`Index`](super::Index): search, split and merge.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::mem;

use super::Entry;

/// A node with more entries or children is split in two.
const FULL: usize = 32;
/// A node with fewer is joined with a neighbour, if the two leave room for more.
const POOR: usize = FULL / 4;
/// Room that a node gets when it needs some: doubling would leave a third of all memory empty.
const GROWTH: usize = 4;

/// Leaves are all equally far from the root.
#[derive(Clone, Debug)]
pub(super) enum Node<E> {
    /// In order.
    Leaf(Vec<E>),
    /// In order; none of them empty.
    Branch(Vec<Child<E>>),
}

#[derive(Clone, Debug)]
pub(super) struct Child<E> {
    /// That of the first entry below.
    mark: u64,
    pub(super) node: Arc<Node<E>>,
}

impl<E: Entry> Child<E> {
    pub(super) fn new(node: Arc<Node<E>>) -> Self {
        Self { mark: node.mark(), node }
    }
}

impl<E: Entry> Node<E> {
    pub(super) const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    const fn len(&self) -> usize {
        match self {
            Self::Leaf(entries) => entries.len(),
            Self::Branch(children) => children.len(),
        }
    }

    fn first(&self) -> Option<&E> {
        let mut node = self;
        loop {
            match node {
                Self::Leaf(entries) => return entries.first(),
                Self::Branch(children) => node = &children.first()?.node,
            }
        }
    }

    fn mark(&self) -> u64 {
        self.first().map_or(0, Entry::mark)
    }

    /// Returns the entry that was replaced, and the right half of this node if it had to be split.
    pub(super) fn insert(this: &mut Arc<Self>, entry: E) -> (Option<E>, Option<Arc<Self>>) {
        let mark = entry.mark();
        let node = Arc::make_mut(this);
        let replaced = match node {
            Self::Leaf(entries) => match position(entries, mark, &|other: &E| other.cmp(&entry)) {
                Ok(at) => entries.get_mut(at).map(|slot| mem::replace(slot, entry)),
                Err(at) => {
                    put(entries, at, entry);
                    None
                }
            },
            Self::Branch(children) => {
                let at = child_before(children, mark, |other| other.cmp(&entry) != Ordering::Greater);
                let Some(child) = children.get_mut(at) else { return (None, None) };
                let (replaced, split) = Self::insert(&mut child.node, entry);
                child.mark = child.node.mark();
                if let Some(right) = split {
                    put(children, at.saturating_add(1), Child::new(right));
                }
                replaced
            }
        };
        let split = (node.len() > FULL).then(|| {
            Arc::new(match node {
                Self::Leaf(entries) => Self::Leaf(halve(entries)),
                Self::Branch(children) => Self::Branch(halve(children)),
            })
        });
        (replaced, split)
    }

    /// Takes out the entry that is `Equal`; may leave this node empty.
    pub(super) fn remove(this: &mut Arc<Self>, mark: u64, order: &impl Fn(&E) -> Ordering) -> Option<E> {
        match Arc::make_mut(this) {
            Self::Leaf(entries) => {
                let at = position(entries, mark, order).ok()?;
                let removed = entries.remove(at);
                if entries.capacity().saturating_sub(entries.len()) > GROWTH {
                    entries.shrink_to_fit();
                }
                Some(removed)
            }
            Self::Branch(children) => {
                let at = child_before(children, mark, |entry| order(entry) != Ordering::Greater);
                let child = children.get_mut(at)?;
                let removed = Self::remove(&mut child.node, mark, order)?;
                child.mark = child.node.mark();
                if child.node.is_empty() {
                    children.remove(at);
                } else if child.node.len() < POOR {
                    join(children, at);
                }
                Some(removed)
            }
        }
    }
}

/// Where the entry is that is `Equal`, or where it would be.
pub(super) fn position<E: Entry>(
    entries: &[E],
    mark: u64,
    order: &impl Fn(&E) -> Ordering,
) -> Result<usize, usize> {
    entries.binary_search_by(|entry| entry.mark().cmp(&mark).then_with(|| order(entry)))
}

/// The last child whose first entry has a lower mark, or this `mark` and is `before` what is sought; else the first.
pub(super) fn child_before<E: Entry>(children: &[Child<E>], mark: u64, before: impl Fn(&E) -> bool) -> usize {
    let beyond = children.partition_point(|child| match child.mark.cmp(&mark) {
        Ordering::Less => true,
        Ordering::Equal => child.node.first().is_some_and(&before),
        Ordering::Greater => false,
    });
    beyond.saturating_sub(1)
}

fn put<T>(list: &mut Vec<T>, at: usize, item: T) {
    if list.len() == list.capacity() {
        list.reserve_exact(GROWTH);
    }
    list.insert(at, item);
}

/// Leaves the left half, returns the right one.
fn halve<T>(list: &mut Vec<T>) -> Vec<T> {
    let right = list.split_off(list.len() / 2);
    list.shrink_to_fit();
    right
}

/// Joins the child `at` with a neighbour, unless the two would soon have to be split again.
fn join<E: Entry>(children: &mut Vec<Child<E>>, at: usize) {
    let left_at = if at.saturating_add(1) < children.len() { at } else { at.saturating_sub(1) };
    let right_at = left_at.saturating_add(1);
    let [Some(left), Some(right)] = [left_at, right_at].map(|at| children.get(at)) else { return };
    if left.node.len().saturating_add(right.node.len()) > FULL - POOR {
        return;
    }
    let right = Arc::unwrap_or_clone(children.remove(right_at).node);
    let Some(left) = children.get_mut(left_at) else { return };
    match (Arc::make_mut(&mut left.node), right) {
        (Node::Leaf(left), Node::Leaf(right)) => append(left, right),
        (Node::Branch(left), Node::Branch(right)) => append(left, right),
        // Neighbours are equally far from the leaves.
        (Node::Leaf(_), Node::Branch(_)) | (Node::Branch(_), Node::Leaf(_)) => {}
    }
}

fn append<T>(left: &mut Vec<T>, right: Vec<T>) {
    left.reserve_exact(right.len());
    left.extend(right);
}
