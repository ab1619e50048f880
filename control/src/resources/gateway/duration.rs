//! Durations of the Gateway API (GEP-2257): `1h30m`, `500ms`; no decimals, no signs, no other units.
use std::time::Duration;

/// A text that is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no duration: expected one to four whole numbers of up to five digits, each with its unit h, m, s or ms, as in 1m30s or 500ms"
)]
pub(super) struct DurationError(String);

/// The duration that `text` says.
pub(super) fn parse(text: &str) -> Result<Duration, DurationError> {
    let bad = || DurationError(text.to_owned());
    let mut rest = text;
    let mut sum = Duration::ZERO;
    let mut parts = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let (number, behind) = rest.split_at(digits);
        let units = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, after) = behind.split_at(units);
        let millis: u64 = match unit {
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1_000,
            "ms" => 1,
            _ => return Err(bad()),
        };
        parts += 1;
        if !(1..=5).contains(&number.len()) || parts > 4 {
            return Err(bad());
        }
        let number: u64 = number.parse().map_err(|_| bad())?;
        sum += Duration::from_millis(number * millis);
        rest = after;
    }
    if parts == 0 { Err(bad()) } else { Ok(sum) }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The examples of GEP-2257, valid and not.
    #[test]
    fn durations_are_read_strictly() {
        let hour = Duration::from_secs(3600);
        for (text, expected) in [
            ("0h", Duration::ZERO),
            ("0s", Duration::ZERO),
            ("0h0m0s", Duration::ZERO),
            ("1h", hour),
            ("30m", hour / 2),
            ("10s", Duration::from_secs(10)),
            ("500ms", Duration::from_millis(500)),
            ("2h30m", hour * 5 / 2),
            ("150m", hour * 5 / 2),
            ("7230s", hour * 2 + Duration::from_secs(30)),
            ("1h30m10s", Duration::from_secs(5410)),
            ("10s30m1h", Duration::from_secs(5410)),
            ("100ms200ms300ms", Duration::from_millis(600)),
            ("99999h", hour * 99_999),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
        for bad in [
            "",
            "1",
            "1d",
            "1.5s",
            "-1s",
            "+1s",
            "1m 1s",
            "100000h",
            "1s1s1s1s1s",
            "s",
            "1us",
            "1H",
            " 1s",
            "١s",
        ] {
            assert_eq!(parse(bad), Err(DurationError(bad.to_owned())));
        }
    }
}
