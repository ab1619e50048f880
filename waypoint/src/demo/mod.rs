//! `adit-waypoint demo`: a mesh on loopback, and what a waypoint does in it.
pub mod app;
pub mod world;
