//! Kubernetes resources, and what a waypoint decides by: the same translation for manifests in a directory and for objects of
//! a cluster.
//!
//! ```text
//!   directory of manifests ─┐
//!                           ├─▶ Objects ── compile(World) ─▶ Compiled { Snapshot, problems, … }
//!   watches of a cluster ───┘
//! ```
//!
//! One translator per kind, each in a file of its own. Nothing that is written is ignored in silence: what is wrong or cannot be
//! done is a [`Problem`], and the effect is a refusal (status 500, a denial), never the rest of what was meant.
pub mod istio;
mod object;
mod problem;
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;

use adit_core::l7::Snapshot;

pub use self::object::{Object, ObjectError};
pub use self::problem::{ObjectName, Problem, Problems, Severity};
pub use self::world::World;

/// All objects that are known, each name once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Objects(BTreeMap<ObjectName, Arc<Object>>);

impl Objects {
    /// Adds an object; returns the one of the same name that it takes the place of.
    pub fn insert(&mut self, object: Arc<Object>) -> Option<Arc<Object>> {
        self.0.insert(object.id(), object)
    }

    /// Takes an object away.
    pub fn remove(&mut self, name: &ObjectName) -> Option<Arc<Object>> {
        self.0.remove(name)
    }

    /// The object of a name.
    #[must_use]
    pub fn get(&self, group: &str, kind: &str, namespace: &str, name: &str) -> Option<&Arc<Object>> {
        self.0.get(&ObjectName {
            group: group.into(),
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
        })
    }

    /// All of a kind, in order of namespace and name.
    pub fn of(&self, group: &str, kind: &str) -> impl Iterator<Item = &Arc<Object>> {
        let empty: Arc<str> = "".into();
        let start =
            ObjectName { group: group.into(), kind: kind.into(), namespace: Arc::clone(&empty), name: empty };
        let (group, kind) = (Arc::clone(&start.group), Arc::clone(&start.kind));
        let here = self.0.range(start..).map(|(_, object)| object);
        here.take_while(move |object| object.group == group && object.kind == kind)
    }

    /// All.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.0.values()
    }
}

impl FromIterator<Arc<Object>> for Objects {
    /// Of several with one name the last one counts.
    fn from_iter<T: IntoIterator<Item = Arc<Object>>>(objects: T) -> Self {
        Self(objects.into_iter().map(|object| (object.id(), object)).collect())
    }
}

/// What resources come to.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// What is decided by.
    pub snapshot: Arc<Snapshot>,
    /// What is wrong with them, in order of the objects.
    pub problems: Vec<Problem>,
}

/// Translates `objects` for the waypoint that `world` says.
#[must_use]
pub fn compile(objects: &Objects, world: &World) -> Compiled {
    let mut problems = Problems::default();
    let mesh = istio::mesh_config::MeshConfig::of(objects, world, &mut problems);
    let snapshot = Snapshot {
        telemetry: istio::telemetry::translate(objects, world, &mesh, &mut problems),
        destinations: istio::destination_rule::translate(objects, world, &mut problems),
        ..Snapshot::default()
    };
    for object in objects.iter().filter(|object| !is_read(object)) {
        let text = "objects of this kind are not supported and have no effect";
        problems.push(object.id(), "kind", Severity::Unsupported, text);
    }
    Compiled { snapshot: Arc::new(snapshot), problems: problems.into_sorted() }
}

/// Whether a translator reads objects of this kind.
fn is_read(object: &Object) -> bool {
    matches!(
        (&*object.group, &*object.kind),
        ("", "ConfigMap")
            | ("networking.istio.io", "DestinationRule")
            | (istio::telemetry::GROUP, "Telemetry")
    )
}
