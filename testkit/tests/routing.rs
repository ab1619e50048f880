//! Routing against a reference chooser, and whole shards as waypoints and at the border of networks.

#[path = "routing/choice.rs"]
mod choice;
#[path = "routing/explained.rs"]
mod explained;
#[path = "routing/shards.rs"]
mod shards;
