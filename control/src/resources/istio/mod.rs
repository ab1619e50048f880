//! Istio's own resources.
pub(super) mod destination_rule;
pub mod mesh_config;
pub(super) mod telemetry;
#[cfg(test)]
mod testing;
mod values;
