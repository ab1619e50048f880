//! What the manager and operators want to know of a certificate: serial number and validity (RFC 5280 §4.1.2).
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::der::{GENERALIZED_TIME, INTEGER, Malformed, SEQUENCE, UTC_TIME, VERSION, element, expect};
use crate::time::UnixTime;

/// Longest serial number that is shown; RFC 5280 §4.1.2.2 allows 20 octets.
const MAX_SERIAL: usize = 64;

/// When a certificate may be used (RFC 5280 §4.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Validity {
    /// The first second.
    pub not_before: UnixTime,
    /// The last second.
    pub not_after: UnixTime,
}

impl Validity {
    /// Whether it is over at `now`.
    #[must_use]
    pub const fn is_over(&self, now: UnixTime) -> bool {
        now.0 >= self.not_after.0
    }

    /// The middle of the lifetime: when a certificate is renewed.
    #[must_use]
    pub const fn half_life(&self) -> UnixTime {
        UnixTime(self.not_before.0.saturating_add(self.lifetime() / 2))
    }

    /// The whole lifetime, in seconds.
    pub(crate) const fn lifetime(&self) -> u64 {
        self.not_after.0.saturating_sub(self.not_before.0)
    }
}

/// Facts of one certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Facts {
    /// Big-endian, as the certificate has it.
    pub serial: Box<[u8]>,
    /// From when to when it is valid.
    pub validity: Validity,
}

/// The octets are no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("not a certificate: its DER is malformed")]
pub struct NotACertificate;

impl From<Malformed> for NotACertificate {
    fn from(_: Malformed) -> Self {
        Self
    }
}

impl Facts {
    /// Reads a certificate in DER. Signatures and extensions are not looked at.
    ///
    /// # Errors
    /// It is not the DER of a certificate.
    pub fn of(certificate: &[u8]) -> Result<Self, NotACertificate> {
        let Named { serial, rest, .. } = named(certificate)?;
        let (validity, _) = expect(rest, SEQUENCE)?;
        let (not_before, rest) = time(validity)?;
        let (not_after, _) = time(rest)?;
        if serial.len() > MAX_SERIAL {
            return Err(NotACertificate);
        }
        Ok(Self { serial: serial.into(), validity: Validity { not_before, not_after } })
    }

    /// The serial number in decimal, as Istio's admin interface shows it.
    #[must_use]
    pub fn serial_decimal(&self) -> String {
        // Long division: decimal digits, least significant first.
        let mut digits = vec![0_u8];
        for octet in &self.serial {
            let mut carry = u16::from(*octet);
            for digit in &mut digits {
                carry = carry.saturating_add(u16::from(*digit).saturating_mul(256));
                *digit = u8::try_from(carry % 10).unwrap_or_default();
                carry /= 10;
            }
            while carry > 0 {
                digits.push(u8::try_from(carry % 10).unwrap_or_default());
                carry /= 10;
            }
        }
        digits.iter().rev().map(|digit| char::from(b'0'.saturating_add(*digit))).collect()
    }
}

/// What revocation lists know a certificate by, as it has it.
pub(super) struct Named<'a> {
    pub(super) serial: &'a [u8],
    /// Its issuer's name, without the outermost tag and length.
    pub(super) issuer: &'a [u8],
    /// What follows in the certificate, from its validity on.
    rest: &'a [u8],
}

/// Reads the first fields of a certificate in DER.
pub(super) fn named(certificate: &[u8]) -> Result<Named<'_>, Malformed> {
    let (certificate, _) = expect(certificate, SEQUENCE)?;
    let (mut tbs, _signature) = expect(certificate, SEQUENCE)?;
    let version = element(tbs)?;
    if version.tag == VERSION {
        tbs = version.rest;
    }
    let (serial, tbs) = expect(tbs, INTEGER)?;
    let (_algorithm, tbs) = expect(tbs, SEQUENCE)?;
    let (issuer, rest) = expect(tbs, SEQUENCE)?;
    Ok(Named { serial, issuer, rest })
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Validity { not_before, not_after } = self.validity;
        write!(f, "serial {}, valid from {} to {}", self.serial_decimal(), not_before.0, not_after.0)
    }
}

/// A UTCTime or GeneralizedTime in the one form that RFC 5280 §4.1.2.5 allows, and what follows it.
fn time(input: &[u8]) -> Result<(UnixTime, &[u8]), NotACertificate> {
    let found = element(input)?;
    let (year, rest) = match (found.tag, found.content) {
        (UTC_TIME, [a, b, rest @ ..]) => {
            let year = two(*a, *b)?;
            (if year >= 50 { year.saturating_add(1900) } else { year.saturating_add(2000) }, rest)
        }
        (GENERALIZED_TIME, [a, b, c, d, rest @ ..]) => {
            (two(*a, *b)?.saturating_mul(100).saturating_add(two(*c, *d)?), rest)
        }
        _ => return Err(NotACertificate),
    };
    let [m1, m2, d1, d2, h1, h2, i1, i2, s1, s2, b'Z'] = rest else { return Err(NotACertificate) };
    let (month, day) = (two(*m1, *m2)?, two(*d1, *d2)?);
    let (hour, minute, second) = (two(*h1, *h2)?, two(*i1, *i2)?, two(*s1, *s2)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return Err(NotACertificate);
    }
    let seconds = days(year, month, day)
        .saturating_mul(86_400)
        .saturating_add(hour.saturating_mul(3600))
        .saturating_add(minute.saturating_mul(60))
        .saturating_add(second);
    Ok((UnixTime(seconds), found.rest))
}

/// A number of two digits.
fn two(tens: u8, ones: u8) -> Result<u64, NotACertificate> {
    let digit = |octet: u8| char::from(octet).to_digit(10).map(u64::from).ok_or(NotACertificate);
    Ok(digit(tens)?.saturating_mul(10).saturating_add(digit(ones)?))
}

/// Days from 1970-01-01 to a date of the Gregorian calendar; 0 for what is earlier.
const fn days(year: u64, month: u64, day: u64) -> u64 {
    // The year begins in March, so that the leap day is its last.
    let (year, month) = if month > 2 {
        (year, month.saturating_sub(3))
    } else {
        (year.saturating_sub(1), month.saturating_add(9))
    };
    let leaps = (year / 4).saturating_sub(year / 100).saturating_add(year / 400);
    let before = month.saturating_mul(153).saturating_add(2) / 5;
    // 719 469 days lie between 0000-03-01 and the day before 1970-01-02.
    year.saturating_mul(365)
        .saturating_add(leaps)
        .saturating_add(before)
        .saturating_add(day)
        .saturating_sub(719_469)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SerialNumber, date_time_ymd};

    use super::*;

    #[test]
    fn dates() {
        for (date, expected) in [
            ((1970, 1, 1), 0),
            ((1970, 3, 1), 59),
            ((2000, 2, 29), 11_016),
            ((2000, 3, 1), 11_017),
            ((2026, 1, 1), 20_454),
            ((2100, 3, 1), 47_541),
        ] {
            assert_eq!(days(date.0, date.1, date.2), expected, "{date:?}");
        }
    }

    #[test]
    fn certificates_of_another_hand() {
        let key = KeyPair::generate().unwrap();
        for (from, to) in [(2020, 2040), (1999, 2049), (2026, 2050), (2051, 2100)] {
            let mut params = CertificateParams::default();
            params.serial_number = Some(SerialNumber::from(std::vec![1, 0, 0, 0, 0, 0, 0, 0, 0]));
            (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 12, 31));
            let certificate = params.self_signed(&key).unwrap();
            let facts = Facts::of(certificate.der()).unwrap();
            let expected = [params.not_before, params.not_after]
                .map(|date| UnixTime(u64::try_from(date.unix_timestamp()).unwrap()));
            assert_eq!([facts.validity.not_before, facts.validity.not_after], expected, "{from}");
            assert_eq!(facts.serial_decimal(), "18446744073709551616");
        }
    }

    #[test]
    fn damage_is_refused_or_harmless() {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::default().self_signed(&key).unwrap();
        let der = certificate.der();
        for length in 0..der.len() {
            assert_eq!(Facts::of(&der[..length]), Err(NotACertificate));
        }
        for place in 0..der.len() {
            let mut damaged = der.to_vec();
            damaged[place] ^= 0x80;
            let _ = Facts::of(&damaged);
        }
    }
}
