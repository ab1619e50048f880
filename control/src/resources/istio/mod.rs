//! Istio's own resources.
pub(super) mod destination_rule;
pub mod mesh_config;
#[cfg(test)]
mod testing;
mod values;
