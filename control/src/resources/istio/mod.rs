//! Istio's own resources.
pub(super) mod destination_rule;
#[cfg(test)]
mod testing;
mod values;
pub(super) mod virtual_service;
