//! Values that several of Istio's resources have: durations, hosts, visibility; and where problems with them are told.
use std::borrow::Cow;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use adit_core::l7::Fraction;
use serde::de::{Deserialize, Deserializer, Error as _};

use super::super::{Object, Problems, Severity, World};

/// An object that is being read, and what is wrong with it.
pub(in super::super) struct Reader<'a> {
    pub(in super::super) object: &'a Object,
    pub(in super::super) problems: &'a mut Problems,
}

impl Reader<'_> {
    /// Tells of a problem.
    pub(in super::super) fn tell(&mut self, severity: Severity, field: &str, text: impl Display) {
        self.problems.push(self.object.id(), field, severity, text.to_string());
    }

    /// Something is said that Adit cannot do.
    pub(in super::super) fn unsupported(&mut self, field: &str, text: impl Display) {
        self.tell(Severity::Unsupported, field, text);
    }

    /// As [`unsupported`](Self::unsupported), if it is said.
    pub(in super::super) fn unless_absent<T>(&mut self, value: Option<&T>, field: &str, text: &str) {
        if value.is_some() {
            self.unsupported(field, text);
        }
    }
}

/// A duration as Go writes it: `1h`, `1m30s`, `1.5s`, `500ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct GoDuration(pub(in super::super) Duration);

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let bad =
            || D::Error::custom(format!("{text:?} is no duration: expected one such as 10s, 1m30s or 500ms"));
        parse_duration(&text).map(GoDuration).ok_or_else(bad)
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut sum) = (text, 0_u128);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let unit: u128 = match unit {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" | "µs" => 1_000,
            "ns" => 1,
            _ => return None,
        };
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && part.is_empty()) || whole.len() > 12 || part.len() > 12 {
            return None;
        }
        let digits = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u128>().ok() };
        let scale = 10_u128.pow(u32::try_from(part.len()).ok()?);
        sum += digits(whole)? * unit + digits(part)? * unit / scale;
        rest = after;
    }
    let sum = u64::try_from(sum).ok()?;
    (!text.is_empty()).then(|| Duration::from_nanos(sum))
}

/// A part of all, of a number of per cent: in steps of a ten-thousandth of one. `None`: it is not between 0 and 100.
pub(in super::super) fn per_cent(percent: f64) -> Option<Fraction> {
    // Between 0 and a million.
    let numerator = || (percent * 10_000.0).round() as u32;
    (0.0..=100.0).contains(&percent).then(|| Fraction { numerator: numerator(), denominator: 1_000_000 })
}

/// A host as it is meant: a name without dots is a service of the object's namespace.
pub(in super::super) fn full_host(host: &str, namespace: &str, world: &World) -> Arc<str> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    if host.contains(['.', '*']) {
        return host.into();
    }
    format!("{host}.{namespace}.svc.{}", world.cluster_domain).into()
}

/// Whether `exportTo` lets the waypoint's namespace see an object of `namespace`.
pub(in super::super) fn is_exported(export_to: &[String], namespace: &str, world: &World) -> bool {
    let sees = |to: &String| match &**to {
        "*" => true,
        "." => *namespace == *world.namespace,
        name => *name == *world.namespace,
    };
    export_to.is_empty() || export_to.iter().any(sees)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        for (text, millis) in [
            ("10s", Some(10_000)),
            ("1.5s", Some(1500)),
            ("1m30s", Some(90_000)),
            ("2h", Some(7_200_000)),
            ("500ms", Some(500)),
            ("0s", Some(0)),
            ("0", Some(0)),
            (".5s", Some(500)),
            ("", None),
            ("10", None),
            ("s", None),
            ("-1s", None),
            ("1d", None),
            ("1.2.3s", None),
            ("99999999999h", None),
        ] {
            assert_eq!(parse_duration(text), millis.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn per_cent_is_between_none_and_all() {
        let million = |numerator| Some(Fraction { numerator, denominator: 1_000_000 });
        for (percent, expected) in [
            (0.0, million(0)),
            (0.000_1, million(1)),
            (33.333_349, million(333_333)),
            (100.0, million(1_000_000)),
            (-0.1, None),
            (100.1, None),
            (f64::NAN, None),
        ] {
            assert_eq!(per_cent(percent), expected, "{percent}");
        }
    }

    #[test]
    fn hosts_are_completed_and_visibility_is_the_waypoints() {
        let world = World::new("gateways", "waypoint");
        for (host, expected) in [
            ("reviews", "reviews.shop.svc.cluster.local"),
            ("Reviews.Other.svc.cluster.local.", "reviews.other.svc.cluster.local"),
            ("*", "*"),
            ("api.example.org", "api.example.org"),
        ] {
            assert_eq!(&*full_host(host, "shop", &world), expected);
        }
        for (to, own, other) in [
            (&[][..], true, true),
            (&["*"], true, true),
            (&["."], true, false),
            (&["gateways"], true, true),
            (&["shop"], false, false),
        ] {
            let to: Vec<_> = to.iter().map(ToString::to_string).collect();
            let seen = |namespace| is_exported(&to, namespace, &world);
            assert_eq!((seen("gateways"), seen("shop")), (own, other), "{to:?}");
        }
    }
}
