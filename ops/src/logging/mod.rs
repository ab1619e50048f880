//! Log lines in Istio's node proxy format (plain or JSON), written by one thread through a bounded queue.
//!
//! Events go through the [`tracing`] macros. Those with target [`ACCESS`] are the access log and go to stdout; all
//! others tell about the process itself and go to stderr, so that the two can be separated by a shell.

mod levels;
mod line;
mod queue;

use std::io::{IsTerminal, Write};

use tracing::Subscriber;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

pub use self::levels::{LevelError, Levels};
pub use self::line::{LineLayer, Sink, Stream};
pub use self::queue::{AccessLines, LogGuard, QUEUE_LINES, Queue};

#[cfg(test)]
pub(crate) use self::line::tests as line_tests;
#[cfg(test)]
pub(crate) use self::queue::tests::Shared;

/// The target of access log events (`RUST_LOG=access=off` silences them).
pub const ACCESS: &str = "access";

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// `time<TAB>level<TAB>target<TAB>message<TAB>key=value …`
    #[default]
    Plain,
    /// One JSON object per line.
    Json,
}

impl Format {
    /// Reads `LOG_FORMAT` as upstream does: `json` is JSON, anything else is plain.
    #[must_use]
    pub fn from_setting(value: Option<&str>) -> Self {
        match value {
            Some("json") => Self::Json,
            _ => Self::Plain,
        }
    }
}

/// Why logging could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoggingError {
    /// `RUST_LOG` cannot be understood.
    #[error("RUST_LOG: read {value:?}, expected directives such as `info` or `warn,access=info`: {cause}")]
    Filter {
        /// What was read.
        value: String,
        /// The parser's own words.
        cause: String,
    },
    /// A subscriber is installed already.
    #[error("logging was started twice in this process")]
    Twice,
    /// The writing thread could not be started.
    #[error("the log thread cannot be started: {0}")]
    Thread(std::io::Error),
}

/// Builds a subscriber that writes lines of `format` to `sink`, filtered by `filter` (the syntax of `RUST_LOG`), and
/// what changes that filter later.
///
/// # Errors
/// [`LoggingError::Filter`] when `filter` has no meaning.
pub fn subscriber<S: Sink>(
    filter: &str,
    format: Format,
    sink: S,
) -> Result<(impl Subscriber + Send + Sync + use<S>, Levels), LoggingError> {
    let parsed = EnvFilter::try_new(filter)
        .map_err(|e| LoggingError::Filter { value: filter.to_owned(), cause: e.to_string() })?;
    let (layer, handle) = reload::Layer::new(parsed);
    Ok((Registry::default().with(layer).with(LineLayer::new(format, sink)), Levels::new(filter, handle)))
}

/// Starts logging for the whole process: access log on stdout, everything else on stderr (coloured on a terminal).
///
/// Keep the guard until the process ends: dropping it writes out what is queued.
///
/// # Errors
/// See [`LoggingError`].
pub fn init(filter: &str, format: Format) -> Result<(LogGuard, Levels), LoggingError> {
    init_with(filter, format, std::io::stdout(), std::io::stderr())
}

/// As [`init`], writing elsewhere; colour is decided by the real standard streams being terminals.
///
/// # Errors
/// See [`LoggingError`].
pub fn init_with(
    filter: &str,
    format: Format,
    out: impl Write + Send + 'static,
    err: impl Write + Send + 'static,
) -> Result<(LogGuard, Levels), LoggingError> {
    let (mut queue, guard) = Queue::start(out, err).map_err(LoggingError::Thread)?;
    if format == Format::Plain && std::env::var_os("NO_COLOR").is_none() {
        queue.colour(std::io::stdout().is_terminal(), std::io::stderr().is_terminal());
    }
    let (subscriber, levels) = subscriber(filter, format, queue)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LoggingError::Twice)?;
    Ok((guard, levels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_is_json_only_for_the_exact_word() {
        assert_eq!(Format::from_setting(Some("json")), Format::Json);
        for other in [None, Some(""), Some("JSON"), Some("plain"), Some("text")] {
            assert_eq!(Format::from_setting(other), Format::Plain, "{other:?}");
        }
    }

    #[test]
    fn levels_change_while_the_process_runs() {
        let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let seen = std::sync::Arc::clone(&count);
        let sink = move |_, _: &[u8]| {
            seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        };
        let (subscriber, levels) = subscriber("info", Format::Plain, sink).unwrap();
        let lines = || {
            count.store(0, std::sync::atomic::Ordering::Relaxed);
            tracing::debug!(target: "access", "a");
            tracing::debug!(target: "other", "b");
            count.load(std::sync::atomic::Ordering::Relaxed)
        };
        tracing::subscriber::with_default(subscriber, || {
            assert_eq!(lines(), 0);
            levels.add("access:debug").unwrap();
            assert_eq!((lines(), levels.current()), (1, "info,access=debug".to_owned()));
            levels.add("debug").unwrap();
            assert_eq!(lines(), 2);
            assert!(levels.add("loud").is_err());
            assert_eq!(lines(), 2);
            levels.reset().unwrap();
            assert_eq!((lines(), levels.current()), (0, "info".to_owned()));
        });
    }

    #[test]
    fn a_bad_filter_names_the_variable_and_the_value() {
        let error = subscriber("info,=,x=loud", Format::Plain, |_, _: &[u8]| ()).err().expect("bad filter");
        let text = error.to_string();
        assert!(text.contains("RUST_LOG") && text.contains("x=loud"), "{text}");
    }
}
