//! `adit-waypoint demo`: a mesh on loopback, and what a waypoint does in it.
pub mod app;
pub mod token;
mod tour;
pub mod world;

use std::io;
use std::process::ExitCode;

use adit_ops::logging::LoggingError;
use adit_process::screen::Screen;
use adit_process::start::quiet_logs;

use self::world::WorldError;
use crate::cli::Demo;

/// Why the demo ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// Logging cannot be started.
    #[error(transparent)]
    Logging(#[from] LoggingError),
    /// The mesh cannot be had.
    #[error(transparent)]
    World(#[from] WorldError),
    /// Threads or signals cannot be had.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// Runs the demo: the tour with `--once`, otherwise until it is interrupted.
///
/// # Errors
/// It could not start.
pub fn main(arguments: &Demo) -> Result<ExitCode, DemoError> {
    let _guard = quiet_logs("error,access=off")?;
    let mut screen = Screen::stdout();
    if arguments.once { tour::run(&mut screen) } else { tour::visit(&mut screen) }
}
