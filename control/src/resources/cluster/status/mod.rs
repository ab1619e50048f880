//! Conditions, written back into the status of objects (waypoint.md §10.14).
//!
//! ```text
//!   objects, compiled ──▶ wanted ─┐
//!                                 ├─▶ patch ──▶ writer ──▶ API
//!   statuses as they are ─────────┘
//! ```
//!
//! All replicas of a waypoint write, and all write the same: whoever is first has done it for all, as the others then find
//! nothing to write. No replica need be chosen, and none is missed when it ends.
mod binding;
mod patch;
mod wanted;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;

use self::patch::Wanted;
pub(super) use self::writer::Writer;
use super::super::problem::ObjectName;
use super::super::{Compiled, Objects, World};
use super::stored::Stored;

/// Who we are in statuses and classes (`controllerName`).
pub const CONTROLLER: &str = "adit.dev/waypoint";

/// What is to be said of all objects.
#[derive(Clone, Debug, Default)]
pub(super) struct Sayings(Arc<BTreeMap<ObjectName, Wanted>>);

impl Sayings {
    /// From what objects come to.
    pub(super) fn new(objects: &Objects, compiled: &Compiled, world: &World) -> Self {
        Self(Arc::new(wanted::wanted(objects, compiled, world)))
    }
}

/// What is to be said, and what is said.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub(super) sayings: Sayings,
    pub(super) stored: Arc<BTreeMap<ObjectName, Arc<Stored>>>,
}
