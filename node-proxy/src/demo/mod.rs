//! `adit-node demo`: two node proxies on loopback, an echo service, and a live account of what happens between them.

mod echo;
mod story;
mod tour;
mod world;

use std::io;
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::time::Instant;

use adit_ops::logging::LoggingError;
use adit_runtime::{Handle, ShardError};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use self::world::World;
use crate::cli::Demo;
use crate::config::ConfigErrors;
use crate::instance::StartError;
use adit_process::screen::Screen;
use adit_process::start::quiet_logs;

/// Why the demo ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// Logging cannot be started.
    #[error(transparent)]
    Logging(#[from] LoggingError),
    /// The demo's own configuration was refused.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// A proxy cannot be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Loopback addresses, ports or threads cannot be had.
    #[error("the demo needs 127.0.0.1 to 127.0.0.3 and a few free ports: {0}")]
    System(#[from] io::Error),
    /// A shard failed.
    #[error(transparent)]
    Shard(#[from] ShardError),
}

/// Runs the demo: the tour with `--once`, otherwise until it is interrupted.
///
/// # Errors
/// It could not start, or a proxy failed.
pub fn main(arguments: &Demo) -> Result<ExitCode, DemoError> {
    let _guard = quiet_logs("warn,access=off")?;
    let mut screen = Screen::stdout();
    if arguments.once { tour::run(arguments.runtime, &mut screen) } else { visit(arguments, &mut screen) }
}

/// Shows what visitors do until the demo is interrupted.
fn visit(arguments: &Demo, screen: &mut Screen) -> Result<ExitCode, DemoError> {
    let (events, heard) = channel();
    let signals = Signals::new([SIGTERM, SIGINT])?;
    let started = Instant::now();
    let world = World::start(arguments.runtime, &events)?;
    drop(events);
    world.introduce(screen);
    end_on_signals(signals, world.handles())?;
    // Ends when every shard has ended, for only they can still send.
    for event in heard {
        screen.line(&story::tell(&event, event.at.duration_since(started), screen.style()));
    }
    let totals = world.totals();
    world.join()?;
    screen.line("");
    screen.line(&format!("web   {}", totals.web.outbound));
    screen.line(&format!("echo  {}", totals.echo.inbound));
    Ok(ExitCode::SUCCESS)
}

/// The first signal drains, the second SIGINT ends the process there and then.
fn end_on_signals(mut signals: Signals, handles: Vec<Handle>) -> io::Result<()> {
    let work = move || {
        let mut interrupts = 0;
        for signal in signals.forever() {
            interrupts += u32::from(signal == SIGINT);
            if interrupts > 1 {
                std::process::exit(0);
            }
            handles.iter().for_each(Handle::drain);
        }
    };
    std::thread::Builder::new().name("adit-signals".to_owned()).spawn(work).map(drop)
}
