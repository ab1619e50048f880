//! The forms values may have: durations, octets, CPU quantities, a workload's name.
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use adit_core::proxy::shard::LocalWorkload;

/// Says what a value should have been.
pub(super) trait Expected {
    /// Completes the sentence "read X, expected …".
    const EXPECTED: &'static str;
}

impl Expected for u16 {
    const EXPECTED: &'static str = "a port number from 0 to 65535";
}
impl Expected for u32 {
    const EXPECTED: &'static str = "a whole number from 0 to 4294967295";
}
impl Expected for u64 {
    const EXPECTED: &'static str = "a whole number";
}
impl Expected for IpAddr {
    const EXPECTED: &'static str = "an IP address such as 127.0.0.2 or ::";
}

/// A value that its [`Expected`] text describes; there is nothing more to say about why it is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotOne;

/// `namespace/name/service-account`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WorkloadInfo(pub(super) LocalWorkload);

impl Expected for WorkloadInfo {
    const EXPECTED: &'static str = "namespace/name/service-account";
}

impl FromStr for WorkloadInfo {
    type Err = NotOne;
    fn from_str(text: &str) -> Result<Self, NotOne> {
        let parts: Vec<&str> = text.split('/').collect();
        match parts.as_slice() {
            [namespace, name, service_account] if parts.iter().all(|part| !part.is_empty()) => {
                Ok(Self(LocalWorkload {
                    namespace: (*namespace).into(),
                    name: (*name).into(),
                    service_account: (*service_account).into(),
                }))
            }
            _ => Err(NotOne),
        }
    }
}

/// Entries: `LISTEN=TARGET`, several separated by commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entries(pub(super) Vec<(SocketAddr, SocketAddr)>);

impl Expected for Entries {
    const EXPECTED: &'static str = "ADDRESS:PORT=TARGET:PORT, several separated by commas, such as \
                                    127.0.0.1:8080=10.0.0.7:80";
}

impl FromStr for Entries {
    type Err = NotOne;
    fn from_str(text: &str) -> Result<Self, NotOne> {
        let one = |text: &str| {
            let (listen, target) = text.split_once('=')?;
            Some((listen.parse().ok()?, target.parse().ok()?))
        };
        text.split(',').map(one).collect::<Option<_>>().map(Self).ok_or(NotOne)
    }
}

/// A number of octets, with an optional binary suffix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Octets(pub(super) usize);

impl Expected for Octets {
    const EXPECTED: &'static str = "a number of octets such as 1048576, 512Ki, 16Mi or 1Gi";
}

impl FromStr for Octets {
    type Err = NotOne;
    fn from_str(text: &str) -> Result<Self, NotOne> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, suffix) = text.split_at(digits);
        let factor: usize = match suffix {
            "" => 1,
            "Ki" => 1 << 10,
            "Mi" => 1 << 20,
            "Gi" => 1 << 30,
            _ => return Err(NotOne),
        };
        number.parse::<usize>().ok().and_then(|n| n.checked_mul(factor)).map(Self).ok_or(NotOne)
    }
}

/// Whole CPUs from a Kubernetes quantity: `2`, `0.5`, `1500m`; parts of one round up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CpuQuantity(pub(super) usize);

impl Expected for CpuQuantity {
    const EXPECTED: &'static str = "a CPU quantity such as 2, 0.5 or 1500m";
}

impl FromStr for CpuQuantity {
    type Err = NotOne;
    fn from_str(text: &str) -> Result<Self, NotOne> {
        let all_digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
        let millis: usize = if let Some(millis) = text.strip_suffix('m') {
            if !all_digits(millis) {
                return Err(NotOne);
            }
            millis.parse().map_err(|_| NotOne)?
        } else {
            let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
            if !all_digits(whole) || !all_digits(part) {
                return Err(NotOne);
            }
            // Anything finer than a thousandth is rounded up to one.
            let thousandths: usize = format!("{part:0<3}")[..3].parse().map_err(|_| NotOne)?;
            let finer = usize::from(part.bytes().skip(3).any(|b| b != b'0'));
            let whole: usize = whole.parse().map_err(|_| NotOne)?;
            whole.checked_mul(1000).and_then(|w| w.checked_add(thousandths + finer)).ok_or(NotOne)?
        };
        Ok(Self(millis.div_ceil(1000)))
    }
}

/// A duration: one or more of number and unit, such as `1h30m`, or a bare `0`.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(letters);
        let number: u64 = number.parse().ok()?;
        let part = match unit {
            "ns" => Duration::from_nanos(number),
            "us" => Duration::from_micros(number),
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number.checked_mul(60)?),
            "h" => Duration::from_secs(number.checked_mul(3600)?),
            "d" => Duration::from_secs(number.checked_mul(86_400)?),
            _ => return None,
        };
        total = total.checked_add(part)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let good = [
            ("5s", 5_000),
            ("10m", 600_000),
            ("24h", 86_400_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("0", 0),
        ];
        for (text, millis) in good {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for bad in [
            "",
            "5",
            "s",
            "5 s",
            "-5s",
            "5sec",
            "5s ",
            "1.5s",
            "99999999999999999999s",
            "9999999999999999999h",
        ] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn octets() {
        for (text, octets) in
            [("0", 0), ("1048576", 1 << 20), ("512Ki", 512 << 10), ("16Mi", 16 << 20), ("1Gi", 1 << 30)]
        {
            assert_eq!(text.parse(), Ok(Octets(octets)), "{text}");
        }
        for bad in ["", "Ki", "1K", "1kB", "-1", "1.5Mi", "99999999999999Gi", "18446744073709551616"] {
            assert_eq!(bad.parse::<Octets>(), Err(NotOne), "{bad}");
        }
    }

    #[test]
    fn cpu_quantities_round_up() {
        for (text, cpus) in
            [("2", 2), ("0", 0), ("0.5", 1), ("1.0", 1), ("1.0001", 2), ("1500m", 2), ("1000m", 1), ("1m", 1)]
        {
            assert_eq!(text.parse(), Ok(CpuQuantity(cpus)), "{text}");
        }
        for bad in ["", "m", ".5", "1.", "1,5", "-1", "1k", "1.5m"] {
            assert_eq!(bad.parse::<CpuQuantity>(), Err(NotOne), "{bad}");
        }
    }

    #[test]
    fn workload_info_has_three_parts() {
        let info: WorkloadInfo = "shop/echo-1/echo".parse().unwrap();
        assert_eq!((&*info.0.namespace, &*info.0.name, &*info.0.service_account), ("shop", "echo-1", "echo"));
        for bad in ["", "a/b", "a/b/c/d", "a//c", "/b/c", "a/b/"] {
            assert_eq!(bad.parse::<WorkloadInfo>(), Err(NotOne), "{bad}");
        }
    }
}
