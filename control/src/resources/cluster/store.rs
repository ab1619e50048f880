//! What is known of a cluster, from all watches together: which objects there are, whether that is all, and what fails.
//!
//! A machine: watches tell it what they see ([`Store::handle`]), and it says what there is. It knows of no network.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use adit_core::time::Instant;

use super::super::Objects;
use super::super::loaded::SourceProblem;
use super::super::problem::ObjectName;
use super::kinds::Shape;
use super::source::Source;
use super::stored::{Stored, Unreadable};

/// Why a watch does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// We may not read it.
    Forbidden(String),
    /// Something that may pass.
    Failing(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden(text) => write!(
                f,
                "may not be read: {text}; give the service account of the waypoint `list` and `watch` for it, as its chart does"
            ),
            Self::Failing(text) => {
                write!(f, "is not to be had: {text}; what was known stays, and it is tried again")
            }
        }
    }
}

/// What a watch has seen.
#[derive(Clone, Debug)]
pub(super) enum Told {
    /// These are all.
    Listed(Vec<Result<Stored, Unreadable>>),
    /// One is new or another than it was.
    Changed(Result<Stored, Unreadable>),
    /// One is there no more.
    Removed(ObjectName),
    /// The cluster has no such kind.
    Absent,
    /// It goes on after a trouble.
    Fresh,
    /// It does not go on.
    Trouble(Trouble),
}

/// What one watch has told so far.
#[derive(Debug, Default)]
struct Held {
    objects: BTreeMap<ObjectName, Arc<Stored>>,
    /// Objects that cannot be read now; what was good of them before is still among the others.
    unreadable: BTreeMap<(String, String), Unreadable>,
    /// Whether all that there is has been seen once.
    known: bool,
    absent: bool,
    trouble: Option<(Trouble, Instant)>,
}

/// What is known of a cluster.
#[derive(Debug, Default)]
pub(super) struct Store {
    held: BTreeMap<Source, Held>,
    /// Whether objects have changed since they were taken.
    changed: bool,
    /// Whether a status, or the version of one, has.
    moved: bool,
    /// Whether what is wrong has.
    troubled: bool,
    /// What is to be logged.
    news: Vec<News>,
}

/// Something for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Something is wrong.
    Wrong(String),
    /// It is not any more, or was to be expected.
    Well(String),
}

impl Store {
    /// Something is watched from now on.
    pub(super) fn add(&mut self, source: Source) {
        self.held.entry(source).or_default();
    }

    /// Only these single objects are watched beside whole kinds.
    pub(super) fn retain(&mut self, single: &BTreeSet<Source>) {
        let before = self.held.len();
        self.held.retain(|source, _| source.only.is_none() || single.contains(source));
        self.changed |= self.held.len() != before;
    }

    /// A watch has told something. What nobody watches any more is ignored.
    pub(super) fn handle(&mut self, now: Instant, source: &Source, told: Told) {
        let Some(held) = self.held.get_mut(source) else { return };
        let mut well = true;
        match told {
            Told::Listed(all) => {
                let mut objects = BTreeMap::new();
                let mut unreadable = BTreeMap::new();
                for read in all {
                    match read {
                        Ok(stored) => _ = objects.insert(stored.object.id(), Arc::new(stored)),
                        Err(bad) => _ = unreadable.insert((bad.namespace.clone(), bad.name.clone()), bad),
                    }
                }
                for (name, stored) in &held.objects {
                    let key = (name.namespace.to_string(), name.name.to_string());
                    if unreadable.contains_key(&key) {
                        objects.insert(name.clone(), Arc::clone(stored));
                    }
                }
                let same = objects.len() == held.objects.len()
                    && objects
                        .iter()
                        .zip(&held.objects)
                        .all(|((name, new), (of, old))| name == of && new.object == old.object);
                self.changed |= !same || !held.known;
                self.moved = true;
                // Of what cannot be read and never was, nobody knows what it would forbid: not all is known.
                let unknown = unreadable.iter().find(|((namespace, name), _)| {
                    !objects
                        .keys()
                        .any(|of| (&*of.namespace, &*of.name) == (namespace.as_str(), name.as_str()))
                });
                held.known |= unknown.is_none();
                for bad in
                    unreadable.values().filter(|bad| !held.unreadable.values().any(|known| known == *bad))
                {
                    self.news.push(News::Wrong(unreadable_text(source, bad)));
                    self.troubled = true;
                }
                self.troubled |= !held.unreadable.is_empty();
                held.absent = false;
                held.objects = objects;
                held.unreadable = unreadable;
            }
            Told::Changed(Ok(stored)) => {
                let name = stored.object.id();
                let bad = held.unreadable.remove(&(name.namespace.to_string(), name.name.to_string()));
                self.troubled |= bad.is_some();
                let new = Arc::new(stored);
                let old = held.objects.insert(name, Arc::clone(&new));
                self.changed |= old.is_none_or(|old| old.object != new.object);
                self.moved = true;
            }
            Told::Changed(Err(bad)) => {
                self.news.push(News::Wrong(unreadable_text(source, &bad)));
                held.unreadable.insert((bad.namespace.clone(), bad.name.clone()), bad);
                self.troubled = true;
            }
            Told::Removed(name) => {
                let bad = held.unreadable.remove(&(name.namespace.to_string(), name.name.to_string()));
                self.troubled |= bad.is_some();
                if held.objects.remove(&name).is_some() {
                    (self.changed, self.moved) = (true, true);
                }
            }
            Told::Absent => {
                if !std::mem::replace(&mut held.absent, true) {
                    let text =
                        format!("{source}: this cluster has no such kind; it is looked for now and then");
                    self.news.push(News::Well(text));
                }
                self.changed |= !held.known || !held.objects.is_empty();
                held.objects.clear();
                held.unreadable.clear();
                held.known = true;
            }
            Told::Fresh => {}
            Told::Trouble(trouble) => {
                well = false;
                let since = match &held.trouble {
                    Some((known, since)) if *known == trouble => *since,
                    known => {
                        self.news.push(News::Wrong(format!("{source} {trouble}")));
                        self.troubled = true;
                        known.as_ref().map_or(now, |(_, since)| *since)
                    }
                };
                held.trouble = Some((trouble, since));
            }
        }
        if well && held.trouble.take().is_some() {
            self.news.push(News::Well(format!("{source}: is watched again")));
            self.troubled = true;
        }
    }

    /// Whether all is known that there is: before that, nobody can tell what is forbidden. Single objects that we may not read
    /// are not waited for: what refers to them fails.
    pub(super) fn complete(&self) -> bool {
        self.held.iter().all(|(source, held)| {
            let forbidden = matches!(held.trouble, Some((Trouble::Forbidden(_), _)));
            held.known || (source.only.is_some() && forbidden)
        })
    }

    /// Watches that nothing is known of yet, for whoever waits.
    pub(super) fn awaited(&self) -> impl Iterator<Item = &Source> {
        self.held.iter().filter(|(_, held)| !held.known).map(|(source, _)| source)
    }

    /// Whether objects have changed since the last time this was asked.
    pub(super) const fn take_changed(&mut self) -> bool {
        std::mem::replace(&mut self.changed, false)
    }

    /// Whether what is wrong has changed since the last time this was asked.
    pub(super) const fn take_troubled(&mut self) -> bool {
        std::mem::replace(&mut self.troubled, false)
    }

    /// Whether objects have changed.
    pub(super) const fn changed(&self) -> bool {
        self.changed
    }

    /// Whether statuses have.
    pub(super) const fn take_moved(&mut self) -> bool {
        std::mem::replace(&mut self.moved, false)
    }

    /// Whether anything has.
    pub(super) const fn stirred(&self) -> bool {
        self.changed || self.moved || self.troubled
    }

    /// What is to be logged.
    pub(super) fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// All objects.
    pub(super) fn objects(&self) -> Objects {
        let stored = self.held.values().flat_map(|held| held.objects.values());
        stored.map(|stored| Arc::clone(&stored.object)).collect()
    }

    /// The objects whose status may be ours to write.
    pub(super) fn writable(&self) -> BTreeMap<ObjectName, Arc<Stored>> {
        let written = self.held.iter().filter(|(source, _)| source.kind.shape != Shape::None);
        written.flat_map(|(_, held)| held.objects.clone()).collect()
    }

    /// What is wrong, in order of the sources.
    pub(super) fn problems(&self) -> Vec<SourceProblem> {
        let mut problems = Vec::new();
        for (source, held) in &self.held {
            let mut push = |text: String| problems.push(SourceProblem { of: source.to_string(), text });
            if let Some((trouble, _)) = &held.trouble {
                push(trouble.to_string());
            }
            held.unreadable.values().for_each(|bad| push(unreadable_text(source, bad)));
        }
        problems
    }

    /// How many watches there are, how many of them fail, and since when the first of these does.
    pub(super) fn figures(&self) -> (usize, usize, Option<Instant>) {
        let failing = || self.held.values().filter_map(|held| held.trouble.as_ref());
        (self.held.len(), failing().count(), failing().map(|(_, since)| *since).min())
    }
}

fn unreadable_text(source: &Source, bad: &Unreadable) -> String {
    format!("{} {bad}; what was good of it before, if anything, stays", source.kind.kind)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::kinds::{CONFIG_MAP, find};
    use super::*;

    const NOW: Instant = Instant::ZERO;

    fn service(name: &str, version: &str, port: u16) -> Result<Stored, Unreadable> {
        let metadata = json!({"name": name, "namespace": "n", "resourceVersion": version});
        let kind = find("", "Service").unwrap();
        Stored::new(kind, "v1", json!({"metadata": metadata, "spec": {"ports": [{"port": port}]}}))
    }

    fn bad(name: &str) -> Result<Stored, Unreadable> {
        let metadata = json!({"name": name, "namespace": "n", "labels": 7});
        Stored::new(find("", "Service").unwrap(), "v1", json!({"metadata": metadata}))
    }

    fn names(store: &Store) -> Vec<String> {
        store.objects().iter().map(|object| object.id().to_string()).collect()
    }

    #[test]
    fn nothing_is_complete_before_all_has_been_seen() {
        let (services, absent) = (
            Source::all(find("", "Service").unwrap()),
            Source::all(find("networking.istio.io", "ServiceEntry").unwrap()),
        );
        let single = Source { kind: &CONFIG_MAP, only: Some(("n".into(), "ca".into())) };
        let mut store = Store::default();
        [&services, &absent, &single].into_iter().for_each(|source| store.add(source.clone()));
        assert!(!store.complete());
        store.handle(NOW, &services, Told::Listed(vec![service("a", "1", 80)]));
        let forbidden = || Told::Trouble(Trouble::Forbidden("no".to_owned()));
        store.handle(NOW, &absent, forbidden());
        store.handle(NOW, &single, forbidden());
        assert_eq!(store.awaited().count(), 2);
        assert!(!store.complete(), "what may not be read of a whole kind is not known");
        store.handle(NOW, &absent, Told::Absent);
        assert!(store.complete(), "what a single object would say fails by itself");
        assert_eq!(store.figures(), (3, 1, Some(NOW)));
        assert!(store.problems()[0].to_string().contains("`list` and `watch`"));
    }

    #[test]
    fn only_what_matters_is_a_change() {
        let services = Source::all(find("", "Service").unwrap());
        let mut store = Store::default();
        store.add(services.clone());
        store.handle(NOW, &services, Told::Listed(vec![service("a", "1", 80)]));
        assert!(store.take_changed() && store.take_moved());
        // A status was written: the version moves, and nothing else.
        store.handle(NOW, &services, Told::Changed(service("a", "2", 80)));
        assert!(!store.take_changed() && store.take_moved());
        store.handle(NOW, &services, Told::Listed(vec![service("a", "3", 80)]));
        assert!(!store.take_changed() && store.take_moved());
        store.handle(NOW, &services, Told::Changed(service("a", "4", 81)));
        assert!(store.take_changed());
        store.handle(NOW, &services, Told::Listed(vec![service("b", "5", 81)]));
        assert!(store.take_changed());
        assert_eq!(names(&store), ["Service n/b"]);
        store.handle(NOW, &services, Told::Removed(service("b", "5", 81).unwrap().object.id()));
        assert!(store.take_changed());
        assert_eq!(names(&store), Vec::<String>::new());
        // A watch that has been given up.
        store.handle(
            NOW,
            &Source { only: Some(("n".into(), "x".into())), ..services },
            Told::Listed(vec![service("x", "9", 1)]),
        );
        assert_eq!(names(&store), Vec::<String>::new());
    }

    #[test]
    fn what_cannot_be_read_keeps_what_was_good() {
        let services = Source::all(find("", "Service").unwrap());
        let mut store = Store::default();
        store.add(services.clone());
        store.handle(NOW, &services, Told::Listed(vec![service("a", "1", 80), bad("b")]));
        assert!(!store.complete(), "nobody knows what b would say");
        store.handle(NOW, &services, Told::Changed(bad("a")));
        assert_eq!(names(&store), ["Service n/a"]);
        assert_eq!(store.problems().len(), 2);
        store.handle(NOW, &services, Told::Listed(vec![bad("a")]));
        assert!(store.complete());
        assert_eq!(names(&store), ["Service n/a"]);
        store.handle(NOW, &services, Told::Changed(service("a", "3", 80)));
        assert_eq!(store.problems(), []);
    }

    #[test]
    fn a_trouble_is_told_once_and_keeps_its_beginning() {
        let services = Source::all(find("", "Service").unwrap());
        let mut store = Store::default();
        store.add(services.clone());
        store.handle(NOW, &services, Told::Listed(vec![service("a", "1", 80)]));
        store.take_news();
        let failing = |text: &str| Told::Trouble(Trouble::Failing(text.to_owned()));
        let later = |seconds| NOW + std::time::Duration::from_secs(seconds);
        store.handle(later(1), &services, failing("x"));
        store.handle(later(2), &services, failing("x"));
        assert_eq!(store.take_news().len(), 1);
        store.handle(later(3), &services, failing("y"));
        assert_eq!((store.take_news().len(), store.figures().2), (1, Some(later(1))));
        assert_eq!(names(&store), ["Service n/a"]);
        store.handle(later(4), &services, Told::Fresh);
        assert_eq!(store.take_news(), [News::Well("Service: is watched again".to_owned())]);
        assert_eq!(store.figures(), (1, 0, None));
    }
}
