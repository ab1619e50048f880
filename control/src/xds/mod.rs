//! The mesh from a control plane: delta ADS over gRPC, decoded into tables (interfaces §1).
//!
//! [`adit_core::xds::Client`] decides what is asked and answered; here is what it leaves out: the connection, protobuf, and
//! the one writer that applies changes and publishes the tables.

mod client;
mod decode;
mod demand;
mod hold;
mod inflow;
mod node;
mod stats;
mod writer;

pub use client::{Settings, Xds};
pub use decode::{Rejection, address, authorization};
pub use demand::{DemandFailure, Demands};
pub use inflow::{Inflow, InflowError, Piece, Tail};
pub use node::{NodeInfo, node};
pub use stats::{Counts, Stats};
pub use writer::{MeshSink, Writer};
