//! Adit's test kit: models of the core's machines, pairs of tunnels and whole shards on simulated networks, and (as they
//! come) scripted peers and oracles.
pub mod models;
pub mod netns;
pub mod pair;
pub mod pki;
pub mod sim;
