//! Which matches of many may have the right path.
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::shelf::Shelf;
use crate::l7::matching::RouteMatch;
use crate::l7::path::Needs;

/// The matches of a table by what their paths need.
#[derive(Clone, Debug, Default)]
pub(super) struct Paths {
    exact: BTreeMap<Box<str>, Shelf>,
    /// In order of their texts.
    beginnings: Vec<Beginning>,
}

/// Those that need a path to begin alike.
#[derive(Clone, Debug)]
struct Beginning {
    text: Box<str>,
    /// Place of the longest other one that this text begins with.
    shorter: Option<usize>,
    shelf: Shelf,
}

type Places<'a> = BTreeMap<Cow<'a, str>, Vec<(usize, &'a RouteMatch)>>;

impl Paths {
    /// That of `matches`, with their places in ascending order.
    pub(super) fn new<'a>(matches: impl Iterator<Item = (usize, &'a RouteMatch)>) -> Self {
        let (mut exact, mut beginnings) = (Places::new(), Places::new());
        for (place, matched) in matches {
            let (of, text) = match matched.path().needs() {
                Needs::Exact(text) => (&mut exact, text),
                Needs::Begins(text) => (&mut beginnings, text),
            };
            of.entry(text).or_default().push((place, matched));
        }
        let exact = exact.into_iter().map(|(text, places)| (text.into(), Shelf::new(&places))).collect();
        let mut this = Self { exact, beginnings: Vec::with_capacity(beginnings.len()) };
        for (text, places) in beginnings {
            // Of those in order before it, the last one or what that begins with.
            let shorter = this.chain(this.beginnings.len(), &text).next().map(|(at, _)| at);
            let beginning = Beginning { text: text.into(), shorter, shelf: Shelf::new(&places) };
            this.beginnings.push(beginning);
        }
        this
    }

    /// Those whose paths may be right, the longest first; each path that is right is there.
    pub(super) fn shelves<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a Shelf> {
        let end = self.beginnings.partition_point(|beginning| &*beginning.text <= path);
        let beginnings = self.chain(end, path).map(|(_, beginning)| &beginning.shelf);
        self.exact.get(path).into_iter().chain(beginnings)
    }

    /// The beginnings of `path`, the longest first, where `end` are not beyond it in order. Whatever is one is a beginning of
    /// the last of these too, as this is between the two in order.
    fn chain<'a>(&'a self, end: usize, path: &'a str) -> impl Iterator<Item = (usize, &'a Beginning)> {
        let next = |place: usize| Some((place, self.beginnings.get(place)?));
        let last = end.checked_sub(1).and_then(next);
        let all = core::iter::successors(last, move |(_, beginning)| beginning.shorter.and_then(next));
        all.filter(|(_, beginning)| path.starts_with(&*beginning.text))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::l7::PathMatch;

    proptest! {
        #[test]
        fn all_beginnings_of_a_path_are_found(texts in prop::collection::vec("[ab/]{0,5}", 0..30), path in "[abc/]{0,7}") {
            let matches: Vec<_> = texts
                .iter()
                .map(|text| RouteMatch::in_order(Some(PathMatch::Begins((**text).into())), vec![], vec![], vec![]))
                .collect();
            let paths = Paths::new(matches.iter().enumerate());
            let end = paths.beginnings.partition_point(|it| *it.text <= *path);
            let found: Vec<&str> = paths.chain(end, &path).map(|(_, it)| &*it.text).collect();
            let mut expected: Vec<&str> = texts.iter().map(|text| &**text).filter(|it| path.starts_with(it)).collect();
            expected.sort_by_key(|text| core::cmp::Reverse(text.len()));
            expected.dedup();
            prop_assert_eq!(found, expected);
        }
    }
}
