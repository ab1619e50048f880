//! Log levels that change while the process runs (`/logging`, interfaces §4.1).
use std::fmt;
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::reload::Handle;
use tracing_subscriber::{EnvFilter, Registry};

/// The words for levels.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// Directives that may be in force at the same time.
const MAX_DIRECTIVES: usize = 64;

/// Why levels stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum LevelError {
    /// It is neither a level nor `target=level`.
    #[error("{0:?} is no level: give off, error, warn, info, debug or trace, or target=level")]
    Directive(String),
    /// There are too many already.
    #[error("more than {MAX_DIRECTIVES} directives: reset them first")]
    TooMany,
    /// The filter's own words.
    #[error("{0}")]
    Filter(String),
}

/// Changes what is logged, from any thread.
pub struct Levels {
    reload: Handle<EnvFilter, Registry>,
    default: String,
    current: Mutex<String>,
}

impl fmt::Debug for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Levels").field("current", &self.current()).finish_non_exhaustive()
    }
}

impl Levels {
    pub(super) fn new(default: &str, reload: Handle<EnvFilter, Registry>) -> Self {
        Self { reload, default: default.to_owned(), current: Mutex::new(default.to_owned()) }
    }

    /// The filter in force, as `RUST_LOG` would be written.
    #[must_use]
    pub fn current(&self) -> String {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Back to what the process started with.
    ///
    /// # Errors
    /// See [`LevelError`]; then nothing has changed.
    pub fn reset(&self) -> Result<(), LevelError> {
        self.put(self.default.clone())
    }

    /// Adds directives, such as `debug` or `info,access=debug`, to those in force; `:` does for `=`, as in
    /// `istioctl ztunnel-config log --level access:debug`.
    ///
    /// # Errors
    /// See [`LevelError`]; then nothing has changed.
    pub fn add(&self, directives: &str) -> Result<(), LevelError> {
        let filter = merged(&self.current(), directives)?;
        self.put(filter)
    }

    fn put(&self, filter: String) -> Result<(), LevelError> {
        let failed = |error: &dyn fmt::Display| LevelError::Filter(error.to_string());
        let parsed = EnvFilter::try_new(&filter).map_err(|error| failed(&error))?;
        self.reload.reload(parsed).map_err(|error| failed(&error))?;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = filter;
        Ok(())
    }
}

/// `current` with `added` behind it; of several directives for one target the last stays.
fn merged(current: &str, added: &str) -> Result<String, LevelError> {
    let added = added.split(',').map(directive).collect::<Result<Vec<_>, _>>()?;
    let mut all: Vec<String> =
        current.split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect();
    for one in added {
        all.retain(|old| target(old) != target(&one));
        all.push(one);
    }
    if all.len() > MAX_DIRECTIVES { Err(LevelError::TooMany) } else { Ok(all.join(",")) }
}

/// The target of a directive; `None` for a level that is for all.
fn target(directive: &str) -> Option<&str> {
    match directive.split_once('=') {
        Some((target, _)) => Some(target),
        None if LEVELS.contains(&directive.to_ascii_lowercase().as_str()) => None,
        None => Some(directive),
    }
}

fn directive(text: &str) -> Result<String, LevelError> {
    let text = text.trim();
    let error = || LevelError::Directive(text.to_owned());
    // A target may have `::` in it, so the level is what follows the last colon.
    let (target, level) = match text.split_once('=').or_else(|| text.rsplit_once(':')) {
        Some((target, level)) => (Some(target.trim()), level.trim()),
        None => (None, text),
    };
    let level = level.to_ascii_lowercase();
    let known = LEVELS.contains(&level.as_str());
    match target {
        _ if !known => Err(error()),
        None => Ok(level),
        Some(target) => {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-' | '.');
            let good = !target.is_empty() && !target.ends_with(':') && target.chars().all(plain);
            if good { Ok(format!("{target}={level}")) } else { Err(error()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_add_up_and_the_last_of_a_target_stays() {
        for (current, added, expected) in [
            ("info", "debug", "debug"),
            ("info", "access=debug", "info,access=debug"),
            ("info,access=off", "access:debug", "info,access=debug"),
            ("warn,access=info", "INFO", "access=info,info"),
            ("info", "adit_node::proxy:trace", "info,adit_node::proxy=trace"),
            ("", "access=off,error", "access=off,error"),
        ] {
            assert_eq!(merged(current, added).as_deref(), Ok(expected), "{current} + {added}");
        }
    }

    #[test]
    fn what_is_no_level_is_refused() {
        for bad in [
            "",
            "loud",
            "access",
            "access=",
            "=info",
            "access=loud",
            "a b=info",
            "info,",
            "x[y]=info",
            "::info",
        ] {
            assert!(matches!(merged("info", bad), Err(LevelError::Directive(_))), "{bad}");
        }
        let many: Vec<_> = (0..MAX_DIRECTIVES).map(|n| format!("t{n}=info")).collect();
        assert_eq!(merged("info", &many.join(",")), Err(LevelError::TooMany));
    }
}
