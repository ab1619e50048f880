//! The core's decisions once more, in the slow and obvious way: what the real ones are compared with.

pub mod mesh;
