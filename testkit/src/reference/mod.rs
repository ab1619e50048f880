//! Reference implementations: what the core decides quickly, decided the slow obvious way.
pub mod policy;
