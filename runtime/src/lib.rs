//! placeholder
pub mod crypto;
