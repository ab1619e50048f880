//! Durations as Istio's resources write them: `5s`, `1.5s`, `1h30m`, `500ms`.
use std::time::Duration;

/// A text that is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no duration: expected numbers with their units h, m, s or ms, as in 5s, 1m30s or 500ms")]
pub(super) struct DurationError(String);

/// The duration that `text` says.
pub(super) fn parse(text: &str) -> Result<Duration, DurationError> {
    let bad = || DurationError(text.to_owned());
    let mut rest = text;
    let mut sum = Duration::ZERO;
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let (number, behind) = rest.split_at(digits);
        let units = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, after) = behind.split_at(units);
        let unit = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            _ => return Err(bad()),
        };
        let seconds = number.parse::<f64>().map_err(|_| bad())? * unit;
        let part = Duration::try_from_secs_f64(seconds).map_err(|_| bad())?;
        sum = sum.checked_add(part).ok_or_else(bad)?;
        rest = after;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        for (text, millis) in [
            ("5s", 5000),
            ("1.5s", 1500),
            ("0s", 0),
            ("500ms", 500),
            ("1h30m", 5_400_000),
            ("1m30s", 90_000),
            ("0.25s", 250),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "s", "-5s", "5 s", "5d", "1.2.3s", "99999999999999999999h", "5s1"] {
            assert_eq!(parse(text), Err(DurationError(text.to_owned())), "{text}");
        }
    }
}
