//! Whether the connections of pods really come to the proxy: what was last found for each, for pages, metrics and readiness.
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// What became of a probe of one address family.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "camelCase")]
pub enum Outcome {
    /// It came to the proxy.
    Captured,
    /// It did not.
    NotCaptured {
        /// What happened instead.
        why: String,
    },
    /// The namespace has no way out by this family: there is nothing to capture.
    NoRoute,
    /// Nobody can tell.
    Unknown {
        /// What stood in the way.
        why: String,
    },
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Captured => f.write_str("captured"),
            Self::NotCaptured { why } => write!(f, "not captured: {why}"),
            Self::NoRoute => f.write_str("no way out, so nothing to capture"),
            Self::Unknown { why } => write!(f, "unknown: {why}"),
        }
    }
}

/// Whether capture works in one network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CaptureState {
    /// Of a connection by IPv4.
    pub ipv4: Outcome,
    /// Of a connection by IPv6.
    pub ipv6: Outcome,
}

impl CaptureState {
    /// A state of which nothing could be found out.
    #[must_use]
    pub fn unknown(why: impl fmt::Display) -> Self {
        let outcome = Outcome::Unknown { why: why.to_string() };
        Self { ipv4: outcome.clone(), ipv6: outcome }
    }

    /// Whether traffic was seen to bypass the proxy, or to fail on its way to it.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        [&self.ipv4, &self.ipv6].iter().any(|outcome| matches!(outcome, Outcome::NotCaptured { .. }))
    }
}

impl fmt::Display for CaptureState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ipv4 == self.ipv6 {
            return self.ipv4.fmt(f);
        }
        write!(f, "IPv4 {}; IPv6 {}", self.ipv4, self.ipv6)
    }
}

/// A pod and what was last found of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PodCapture {
    /// Its uid.
    pub uid: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// What was found.
    pub state: CaptureState,
}

/// What was last found of every pod. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Captures {
    pods: Arc<Mutex<BTreeMap<Arc<str>, PodCapture>>>,
}

impl Captures {
    /// Notes what was found of all pods in scope; those that are not among them are forgotten. Returns those of which
    /// something else was known before, or nothing.
    pub fn replace(&self, pods: Vec<PodCapture>) -> Vec<PodCapture> {
        let mut known = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = pods.iter().filter(|pod| known.get(&pod.uid) != Some(pod)).cloned().collect();
        *known = pods.into_iter().map(|pod| (Arc::clone(&pod.uid), pod)).collect();
        changed
    }

    /// All pods, by uid.
    #[must_use]
    pub fn pods(&self) -> Vec<PodCapture> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// How many pods should be captured and are not.
    #[must_use]
    pub fn missing(&self) -> usize {
        let known = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        known.values().filter(|pod| pod.state.is_missing()).count()
    }

    /// What readiness says of it, beside being ready: the first few pods that are not captured.
    #[must_use]
    pub fn remark(&self) -> Option<String> {
        const NAMED: usize = 5;
        let known = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = || known.values().filter(|pod| pod.state.is_missing());
        let names: Vec<String> =
            missing().take(NAMED).map(|pod| format!("{}/{}", pod.namespace, pod.name)).collect();
        let count = missing().count();
        let more = count.checked_sub(NAMED).filter(|more| *more > 0).map(|more| format!(" and {more} more"));
        (count > 0)
            .then(|| format!("traffic of {}{} is not captured", names.join(", "), more.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str, ipv4: Outcome) -> PodCapture {
        let state = CaptureState { ipv4, ipv6: Outcome::NoRoute };
        PodCapture { uid: uid.into(), namespace: "shop".into(), name: uid.into(), state }
    }

    fn bypassed() -> Outcome {
        Outcome::NotCaptured { why: "no answer".to_owned() }
    }

    #[test]
    fn what_changed_is_told_and_who_is_gone_is_forgotten() {
        let captures = Captures::default();
        assert_eq!((captures.missing(), captures.remark()), (0, None));
        let (a, b) = (pod("a", Outcome::Captured), pod("b", bypassed()));
        assert_eq!(captures.replace(vec![a.clone(), b.clone()]), [a.clone(), b]);
        assert_eq!(captures.missing(), 1);
        assert_eq!(captures.remark().unwrap(), "traffic of shop/b is not captured");
        let mended = pod("b", Outcome::Captured);
        assert_eq!(captures.replace(vec![a.clone(), mended.clone()]), [mended]);
        assert_eq!(captures.replace(vec![a.clone()]), []);
        assert_eq!((captures.pods(), captures.missing()), (vec![a], 0));
    }

    #[test]
    fn a_remark_is_short_however_many_there_are() {
        let captures = Captures::default();
        captures.replace((0..9).map(|number| pod(&format!("p{number}"), bypassed())).collect());
        let remark = captures.remark().unwrap();
        assert_eq!(
            remark,
            "traffic of shop/p0, shop/p1, shop/p2, shop/p3, shop/p4 and 4 more is not captured"
        );
    }

    #[test]
    fn what_nobody_can_tell_is_not_missing() {
        assert!(!CaptureState::unknown("x").is_missing());
        assert!(!pod("a", Outcome::NoRoute).state.is_missing());
        assert_eq!(CaptureState::unknown("x").to_string(), "unknown: x");
        assert_eq!(
            pod("a", bypassed()).state.to_string(),
            "IPv4 not captured: no answer; IPv6 no way out, so nothing to capture"
        );
    }

    #[test]
    fn pages_and_their_readers_agree() {
        let pods = vec![pod("a", bypassed()), pod("b", Outcome::Captured)];
        let text = serde_json::to_string(&pods).unwrap();
        assert!(text.contains(r#""ipv4":{"outcome":"notCaptured","why":"no answer"}"#), "{text}");
        assert_eq!(serde_json::from_str::<Vec<PodCapture>>(&text).unwrap(), pods);
    }
}
