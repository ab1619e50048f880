//! What `deploy/` holds, as far as it can be checked without other programs: every query against the metrics that a proxy
//! exports, the Dockerfile, and the chart's lists of values. What Helm makes of the chart is in `tests/chart`.

mod alerts;
mod dashboard;
mod exported;
mod guide;
mod image;
mod promql;
mod values;
mod waypoint_guide;

use std::fs;
use std::path::Path;

/// The folder of the workspace.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("testkit lies in the workspace")
}

/// The text of `path`, which is relative to the workspace.
fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
