//! Istio's own resources.
pub mod mesh_config;
