//! Adit's test kit: simulator, models, a tunnel on a real socket for foreign peers, and the bodies of the fuzz targets.
pub mod fuzz;
pub mod models;
pub mod sim;
pub mod wire;
