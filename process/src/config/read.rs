//! Reading variables one by one while gathering every error.
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::error::{ConfigError, ConfigErrors};
use super::value::{Expected, parse_duration};

/// The variables, which of them were asked for, and the errors so far.
pub(super) struct Reader<'a> {
    vars: &'a BTreeMap<String, String>,
    errors: Vec<ConfigError>,
    /// Each `ADIT_*` name that was asked for, so that a misspelt one is noticed.
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(vars: &'a BTreeMap<String, String>) -> Self {
        Self { vars, errors: Vec::new(), asked: RefCell::new(Vec::new()) }
    }

    /// Notes an error.
    pub(super) fn refuse(&mut self, variable: &str, value: Option<&str>, expected: &str) {
        self.errors.push(ConfigError {
            variable: variable.to_owned(),
            value: value.map(str::to_owned),
            expected: expected.to_owned(),
        });
    }

    /// A text; set to nothing counts as not set.
    pub(super) fn text(&self, name: &'static str) -> Option<&'a str> {
        self.raw(name).filter(|value| !value.is_empty())
    }

    /// As [`text`](Self::text), but set to nothing is told from not set.
    pub(super) fn given(&self, name: &'static str) -> Option<&'a str> {
        self.raw(name)
    }

    /// What follows `prefix` in the names of variables that are set, and their values.
    pub(super) fn prefixed(&self, prefix: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let pair =
            move |(name, value): (&'a String, &'a String)| Some((name.strip_prefix(prefix)?, value.as_str()));
        self.vars.iter().filter_map(pair).filter(|(name, _)| !name.is_empty())
    }

    fn raw(&self, name: &'static str) -> Option<&'a str> {
        self.asked.borrow_mut().push(name);
        self.vars.get(name).map(String::as_str)
    }

    /// The names that were asked for so far.
    pub(super) fn asked(&self) -> Vec<&'static str> {
        self.asked.borrow().clone()
    }

    /// The names of all variables that are set.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.vars.keys().map(String::as_str)
    }

    /// A value of a type that knows what it expects; set to nothing is an error.
    pub(super) fn parsed<T: FromStr + Expected>(&mut self, name: &'static str) -> Option<T> {
        let value = self.raw(name)?;
        let parsed = value.parse().ok();
        if parsed.is_none() {
            self.refuse(name, Some(value), T::EXPECTED);
        }
        parsed
    }

    /// A number within bounds.
    pub(super) fn ranged<T>(&mut self, name: &'static str, default: T, range: RangeInclusive<T>) -> T
    where
        T: FromStr + PartialOrd + Display,
    {
        let Some(value) = self.raw(name) else { return default };
        match value.parse() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let expected = format!("a whole number from {} to {}", range.start(), range.end());
                self.refuse(name, Some(value), &expected);
                default
            }
        }
    }

    /// Exactly `true` or `false`.
    pub(super) fn boolean(&mut self, name: &'static str, default: bool) -> bool {
        self.word(name, &[("true", true), ("false", false)]).unwrap_or(default)
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&mut self, name: &'static str, words: &[(&str, T)]) -> Option<T> {
        let value = self.raw(name)?;
        let found = words.iter().find(|(word, _)| *word == value).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let choices: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            self.refuse(name, Some(value), &choices.join(" or "));
        }
        found
    }

    /// A duration such as `5s`.
    pub(super) fn duration(&mut self, name: &'static str, default: Duration) -> Duration {
        let Some(value) = self.raw(name) else { return default };
        parse_duration(value).unwrap_or_else(|| {
            self.refuse(name, Some(value), "a duration such as `500ms`, `5s`, `10m` or `1h30m`");
            default
        })
    }

    /// A duration that is not zero: a deadline of zero would fail everything.
    pub(super) fn positive_duration(&mut self, name: &'static str, default: Duration) -> Duration {
        let duration = self.duration(name, default);
        if duration.is_zero() {
            self.refuse(name, self.raw(name), "a duration longer than zero");
            return default;
        }
        duration
    }

    /// `value`, unless something was wrong; also refuses `ADIT_*` variables that nobody asked for.
    pub(super) fn finish<T>(mut self, value: T) -> Result<T, ConfigErrors> {
        let asked = self.asked.take();
        for name in self.names().filter(|name| name.starts_with("ADIT_")) {
            if !asked.contains(&name) {
                let near = asked.iter().filter(|a| a.starts_with("ADIT_")).min_by_key(|a| distance(a, name));
                let expected = near.map_or_else(
                    || "no such variable".to_owned(),
                    |near| format!("a variable we know: there is no such one, perhaps {near} is meant"),
                );
                self.refuse(name, self.vars.get(name).map(String::as_str), &expected);
            }
        }
        ConfigErrors::new(self.errors).map_or(Ok(value), Err)
    }
}

/// How many letters must change to make `a` out of `b` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<u8> = b.bytes().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let next = (diagonal + usize::from(x != *y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = row[j + 1];
            row[j + 1] = next;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn distances() {
        for (a, b, expected) in [("", "", 0), ("a", "", 1), ("kitten", "sitting", 3), ("ab", "ba", 2)] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
