//! What can be wrong with the environment, in words that say what to do.
use std::fmt;

/// One variable that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{variable}: {}, expected {expected}", Read(.value))]
pub struct ConfigError {
    /// Its name.
    pub variable: String,
    /// What was read; `None` when it is not set.
    pub value: Option<String>,
    /// What would have been right.
    pub expected: String,
}

/// Longest value that is repeated in an error; some variables hold whole documents.
const MAX_SHOWN: usize = 120;

struct Read<'a>(&'a Option<String>);

impl fmt::Display for Read<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("not set"),
            Some(value) => match value.char_indices().nth(MAX_SHOWN) {
                None => write!(f, "read {value:?}"),
                Some((cut, _)) => write!(f, "read {:?}…", &value[..cut]),
            },
        }
    }
}

/// Everything that is wrong with the environment; never empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// `None` when there is nothing wrong.
    pub(super) fn new(errors: Vec<ConfigError>) -> Option<Self> {
        (!errors.is_empty()).then_some(Self(errors))
    }

    /// The errors in the order in which variables were read.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the environment cannot be used:")?;
        self.0.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}
