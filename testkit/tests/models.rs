//! Searches the models of `adit_testkit::models` exhaustively, and plants faults that the searches must find.
#[path = "models/establish.rs"]
mod establish;
#[path = "models/flow.rs"]
mod flow;
#[path = "models/limits.rs"]
mod limits;
#[path = "models/pool.rs"]
mod pool;
#[path = "models/relay.rs"]
mod relay;
