//! Exhaustive models of the core's machines, over the *shipped* types, never over copies.
//!
//! A model's state contains the real machine. Each step calls one real handle or command and drains the real events
//! into a *ghost*: the least bookkeeping that an honest outsider would keep. Properties compare ghost and events; they
//! do not look into the machine. Time moves only by jumping to `poll_timeout()`.
//!
//! - Liveness is stated as safety: where nothing is left that must happen, nobody is waiting.
//! - A model that has gone quiet fails: it must reach a minimum of states, and its `sometimes` properties.
//! - A model that cannot fail is decoration: a fault can be planted in the *driver* around the machine (never in core),
//!   and the checker must find a counterexample to the property that the fault is named for.
use std::fmt::Debug;
use std::hash::Hash;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

pub mod establish;
pub mod flow;
pub mod limits;
pub mod pool;
pub mod relay;

/// A model that can be searched: what stateright asks for, under one name.
pub trait Searchable: Model<State: Traced, Action: Traced> + Clone + Send + Sync + 'static {}

impl<M> Searchable for M where M: Model<State: Traced, Action: Traced> + Clone + Send + Sync + 'static {}

/// States and actions that can be compared, stored and shown.
pub trait Traced: Clone + Debug + PartialEq + Hash + Send + Sync {}

impl<T> Traced for T where T: Clone + Debug + PartialEq + Hash + Send + Sync {}

/// Searches the whole space of `model`: every property must hold, over at least `minimum` different states.
///
/// # Panics
///
/// When a property fails (with a shortest path that leads there), when something that should be reached is not, or when
/// the space is smaller than `minimum`.
pub fn assert_holds<M: Searchable>(model: &M, minimum: usize) {
    let checker = model.clone().checker().threads(2).spawn_bfs().join();
    for property in model.properties() {
        let found = checker.discovery(property.name).is_some();
        match property.expectation {
            Expectation::Always => {
                assert!(
                    !found,
                    "{:?} fails after {:#?}",
                    property.name,
                    shortest(model, property.name).unwrap_or_default()
                );
            }
            Expectation::Sometimes => assert!(found, "{:?} is never reached", property.name),
            Expectation::Eventually => unreachable!("liveness is stated as safety"),
        }
    }
    let states = checker.unique_state_count();
    assert!(states >= minimum, "the model went quiet: {states} states where at least {minimum} are expected");
}

/// Searches `model`, in which a fault is planted, for a counterexample to `property`.
///
/// # Panics
///
/// When there is none: the model would not notice that fault.
pub fn assert_caught<M: Searchable>(model: &M, property: &'static str) {
    let wanted = HasDiscoveries::AnyOf([property].into());
    let checker = model.clone().checker().threads(2).finish_when(wanted).spawn_bfs().join();
    assert!(checker.discovery(property).is_some(), "the planted fault does not violate {property:?}");
}

/// The actions of a shortest path to where `property` is discovered; `None` when it is nowhere.
///
/// Stateright's breadth-first search does not promise the shortest, so the depth is raised step by step.
#[must_use]
pub fn shortest<M: Searchable>(model: &M, property: &'static str) -> Option<Vec<M::Action>> {
    let mut known = 0;
    for depth in 2.. {
        let wanted = HasDiscoveries::AnyOf([property].into());
        let search = model.clone().checker().finish_when(wanted).target_max_depth(depth);
        let checker = search.spawn_bfs().join();
        if let Some(path) = checker.discovery(property) {
            return Some(path.into_actions());
        }
        let states = checker.unique_state_count();
        if states == known {
            break;
        }
        known = states;
    }
    None
}
