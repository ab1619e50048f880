use std::collections::BTreeMap;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

/// Many keys share a mark, so that searches have to look at the entries themselves.
#[derive(Clone, Debug)]
struct Pair {
    key: u16,
    value: u32,
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Pair {}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

impl Entry for Pair {
    fn mark(&self) -> u64 {
        mark(self.key)
    }
}

fn mark(key: u16) -> u64 {
    u64::from(key / 100)
}

fn contents(index: &Index<Pair>) -> Vec<(u16, u32)> {
    index.iter().map(|pair| (pair.key, pair.value)).collect()
}

/// Checks what the searches rely on; returns the height.
fn check(node: &Node<Pair>, root: bool) -> usize {
    match node {
        Node::Leaf(entries) => {
            assert!(!entries.is_empty() && entries.len() <= 32);
            1
        }
        Node::Branch(children) => {
            assert!(children.len() <= 32 && children.len() >= if root { 2 } else { 1 });
            let heights: Vec<_> = children.iter().map(|child| check(&child.node, false)).collect();
            assert!(heights.windows(2).all(|pair| pair[0] == pair[1]), "leaves are equally deep");
            heights[0] + 1
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u16, u32),
    Remove(u16),
    Alter(u16, u32),
    Snapshot,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = || prop_oneof![0..40u16, 0..3000u16];
    let growing = prop_oneof![
        8 => (key(), any::<u32>()).prop_map(|(key, value)| Step::Insert(key, value)),
        1 => key().prop_map(Step::Remove),
        1 => (key(), any::<u32>()).prop_map(|(key, value)| Step::Alter(key, value)),
        1 => Just(Step::Snapshot),
    ];
    let shrinking = prop_oneof![9 => key().prop_map(Step::Remove), 1 => Just(Step::Snapshot)];
    let phases = (prop::collection::vec(growing, 0..800), prop::collection::vec(shrinking, 0..800));
    phases.prop_map(|(mut steps, rest)| {
        steps.extend(rest);
        steps
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn behaves_like_a_map_and_copies_stay_as_they_were(steps in steps(), probe in 0..3000u16) {
        let (mut index, mut oracle) = (Index::default(), BTreeMap::new());
        let mut snapshots = Vec::new();
        for step in steps {
            match step {
                Step::Insert(key, value) => {
                    let replaced = index.insert(Pair { key, value }).map(|pair| pair.value);
                    prop_assert_eq!(replaced, oracle.insert(key, value));
                }
                Step::Remove(key) => {
                    let removed = index.remove(mark(key), |pair| pair.key.cmp(&key)).map(|pair| pair.value);
                    prop_assert_eq!(removed, oracle.remove(&key));
                }
                Step::Alter(key, value) => {
                    let found = index.get_mut(mark(key), |pair| pair.key.cmp(&key));
                    prop_assert_eq!(found.is_some(), oracle.contains_key(&key));
                    if let Some(pair) = found {
                        pair.value = value;
                        oracle.insert(key, value);
                    }
                }
                Step::Snapshot => snapshots.push((index.clone(), oracle.clone())),
            }
            prop_assert_eq!((index.len(), index.is_empty()), (oracle.len(), oracle.is_empty()));
        }
        snapshots.push((index, oracle));
        for (index, oracle) in snapshots {
            prop_assert_eq!(contents(&index), oracle.iter().map(|(k, v)| (*k, *v)).collect::<Vec<_>>());
            if let Some(root) = &index.root {
                check(root, true);
            }
            let from = index.from(mark(probe), |pair| pair.key.cmp(&probe)).map(|pair| pair.key);
            prop_assert!(from.eq(oracle.range(probe..).map(|(key, _)| *key)));
            // All keys of one decade, which may lie in several leaves.
            let decade = probe / 100;
            let run = index.range(mark(probe), |pair| (pair.key / 100).cmp(&decade)).map(|pair| pair.key);
            prop_assert!(run.eq(oracle.keys().copied().filter(|key| key / 100 == decade)));
        }
    }
}

#[test]
fn a_change_copies_one_path_and_nothing_when_unshared() {
    let mut index = Index::default();
    for key in 0..20_000 {
        index.insert(Pair { key, value: 0 });
    }
    let root = |index: &Index<Pair>| Arc::as_ptr(index.root.as_ref().unwrap());
    let before = root(&index);
    index.insert(Pair { key: 7, value: 1 });
    assert_eq!(root(&index), before, "changed in place");
    let snapshot = index.clone();
    index.insert(Pair { key: 7, value: 2 });
    let (Node::Branch(old), Node::Branch(new)) =
        (&**snapshot.root.as_ref().unwrap(), &**index.root.as_ref().unwrap())
    else {
        panic!("20 000 entries in one leaf");
    };
    let copied = old.iter().zip(new).filter(|(old, new)| !Arc::ptr_eq(&old.node, &new.node)).count();
    assert_eq!(copied, 1, "of {} children", new.len());
}

#[test]
fn what_is_not_there_copies_nothing() {
    let mut index = Index::default();
    index.insert(Pair { key: 1, value: 0 });
    let snapshot = index.clone();
    assert!(index.remove(mark(2), |pair| pair.key.cmp(&2)).is_none());
    assert!(index.get_mut(mark(2), |pair| pair.key.cmp(&2)).is_none());
    assert!(Arc::ptr_eq(index.root.as_ref().unwrap(), snapshot.root.as_ref().unwrap()));
}
