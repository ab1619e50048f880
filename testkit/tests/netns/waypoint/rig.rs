//! Clients of HTTP, which the waypoint's own tests have too.
#![allow(dead_code, unreachable_pub, reason = "we take what we need of it")]
#[path = "../../../../waypoint/tests/rig/cases.rs"]
pub mod cases;
#[path = "../../../../waypoint/tests/rig/h2c.rs"]
pub mod h2c;
#[path = "../../../../waypoint/tests/rig/http1.rs"]
pub mod http1;

use std::time::Duration;

pub use self::http1::{Client, Reply};

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);
