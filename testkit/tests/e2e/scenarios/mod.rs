//! What is shown, one scenario a module.

mod calling;
pub(crate) mod delete;
pub(crate) mod label;
pub(crate) mod policies;
pub(crate) mod restart;
pub(crate) mod service;
pub(crate) mod waypoint;
