//! Adit's test kit: models of the core's machines, and (as they come) simulator, scripted peers and oracles.
pub mod models;
pub mod netns;
