//! Routing against a reference chooser, explained as JSON, and in whole shards.

#[path = "routing/choice.rs"]
mod choice;
#[path = "routing/explained.rs"]
mod explained;
#[path = "routing/shards.rs"]
mod shards;
#[path = "routing/waypoints.rs"]
mod waypoints;
