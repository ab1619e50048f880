//! The `baggage` header: a workload's metadata (datapath §3.2).
use alloc::string::String;
use alloc::sync::Arc;
use core::str;

use crate::http2::are_all;

/// What kind of Kubernetes object a workload belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum WorkloadType {
    /// A Deployment, or what behaves like one.
    Deployment,
    /// A CronJob.
    Cronjob,
    /// A Pod of its own.
    Pod,
    /// A Job.
    Job,
}

impl WorkloadType {
    /// The type in lower case, as Istio writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::Cronjob => "cronjob",
            Self::Pod => "pod",
            Self::Job => "job",
        }
    }

    /// The key under which a workload of this type is named.
    const fn key(self) -> &'static str {
        match self {
            Self::Deployment => "k8s.deployment.name",
            Self::Cronjob => "k8s.cronjob.name",
            Self::Pod => "k8s.pod.name",
            Self::Job => "k8s.job.name",
        }
    }

    fn from_key(key: &str) -> Option<Self> {
        [Self::Deployment, Self::Cronjob, Self::Pod, Self::Job].into_iter().find(|kind| kind.key() == key)
    }
}

const CLUSTER: &str = "k8s.cluster.name";
const NAMESPACE: &str = "k8s.namespace.name";
const SERVICE_NAME: &str = "service.name";
const SERVICE_VERSION: &str = "service.version";
const REGION: &str = "cloud.region";
const ZONE: &str = "cloud.availability_zone";

/// What one end of a connection says about its workload. Unproven: good for telemetry, never for policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Baggage {
    /// `k8s.cluster.name`
    pub cluster: Option<Arc<str>>,
    /// `k8s.namespace.name`
    pub namespace: Option<Arc<str>>,
    /// The type in `k8s.TYPE.name`; parsed together with `workload_name`, written only together with it.
    pub workload_type: Option<WorkloadType>,
    /// The value of `k8s.TYPE.name`.
    pub workload_name: Option<Arc<str>>,
    /// `service.name`: the canonical name.
    pub service_name: Option<Arc<str>>,
    /// `service.version`: the canonical revision.
    pub service_version: Option<Arc<str>>,
    /// `cloud.region`
    pub region: Option<Arc<str>>,
    /// `cloud.availability_zone`
    pub zone: Option<Arc<str>>,
}

impl Baggage {
    /// Parses the values of all `baggage` header lines, whatever they hold; `None` when one is not visible ASCII.
    ///
    /// As Istio reads it: pairs between commas, key and value between `=`; nothing trimmed or decoded; what follows a
    /// second `=` and unknown keys are ignored; a later pair overwrites an earlier one; an empty value unsets.
    #[must_use]
    pub fn parse<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let mut baggage = Self::default();
        for value in values {
            let text = visible(value)?;
            for pair in text.split(',') {
                let mut parts = pair.split('=');
                if let (Some(key), Some(value)) = (parts.next(), parts.next()) {
                    baggage.set(key, value);
                }
            }
        }
        Some(baggage)
    }

    fn set(&mut self, key: &str, value: &str) {
        let target = match key {
            CLUSTER => &mut self.cluster,
            NAMESPACE => &mut self.namespace,
            SERVICE_NAME => &mut self.service_name,
            SERVICE_VERSION => &mut self.service_version,
            REGION => &mut self.region,
            ZONE => &mut self.zone,
            _ => {
                let Some(kind) = WorkloadType::from_key(key) else { return };
                self.workload_type = (!value.is_empty()).then_some(kind);
                &mut self.workload_name
            }
        };
        *target = (!value.is_empty()).then(|| value.into());
    }

    /// The header's value, in Istio's order; absent values are skipped, so it may be empty.
    ///
    /// The form has no escapes. A value that it cannot carry (one with `,`, `=` or other than visible ASCII, or with
    /// spaces around it) is left out: it would change what the header says, or make the request malformed.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut out = String::with_capacity(160);
        self.write(&mut out);
        out
    }

    /// As [`encode`](Self::encode), behind what is in `out`.
    pub(super) fn write(&self, out: &mut String) {
        let start = out.len();
        let workload_key = self.workload_type.map_or("", WorkloadType::key);
        let workload_name = self.workload_name.as_ref().filter(|_| self.workload_type.is_some());
        for (key, value) in [
            (CLUSTER, self.cluster.as_ref()),
            (NAMESPACE, self.namespace.as_ref()),
            (workload_key, workload_name),
            (SERVICE_NAME, self.service_name.as_ref()),
            (SERVICE_VERSION, self.service_version.as_ref()),
            (REGION, self.region.as_ref()),
            (ZONE, self.zone.as_ref()),
        ] {
            let Some(value) = value.filter(|value| is_carried(value)) else { continue };
            if out.len() > start {
                out.push(',');
            }
            out.push_str(key);
            out.push('=');
            out.push_str(value);
        }
    }
}

/// The text of a header value of visible ASCII, spaces and tabs.
pub(super) fn visible(value: &[u8]) -> Option<&str> {
    let all = are_all(value, |octet| matches!(octet, b' '..=b'~' | b'\t'));
    all.then(|| str::from_utf8(value).ok()).flatten()
}

fn is_carried(value: &str) -> bool {
    !value.is_empty()
        && value.trim_ascii().len() == value.len()
        && value.bytes().all(|b| matches!(b, b' '..=b'~') && !matches!(b, b',' | b'='))
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const FULL: &str = "k8s.cluster.name=c1,k8s.namespace.name=ns1,k8s.deployment.name=w1,service.name=s1,\
                        service.version=v1,cloud.region=r1,cloud.availability_zone=z1";

    fn full() -> Baggage {
        Baggage {
            cluster: Some("c1".into()),
            namespace: Some("ns1".into()),
            workload_type: Some(WorkloadType::Deployment),
            workload_name: Some("w1".into()),
            service_name: Some("s1".into()),
            service_version: Some("v1".into()),
            region: Some("r1".into()),
            zone: Some("z1".into()),
        }
    }

    fn parse(text: &str) -> Baggage {
        Baggage::parse([text.as_bytes()]).unwrap()
    }

    #[test]
    fn full_both_ways() {
        assert_eq!(full().encode(), FULL);
        assert_eq!(parse(FULL), full());
    }

    #[test]
    fn one_key_per_line() {
        assert_eq!(Baggage::parse(FULL.split(',').map(str::as_bytes)), Some(full()));
    }

    #[test]
    fn nothing_both_ways() {
        assert_eq!(Baggage::default().encode(), "");
        assert_eq!(parse(""), Baggage::default());
        assert_eq!(Baggage::parse([]), Some(Baggage::default()));
    }

    #[test]
    fn empty_values_are_unset() {
        let keys: Vec<_> = FULL.split(',').map(|pair| pair.split_once('=').unwrap().0).collect();
        assert_eq!(parse(&(keys.join("=,") + "=")), Baggage::default());
        assert_eq!(parse(&std::format!("{FULL},{}=", keys.join("=,"))), Baggage::default());
    }

    #[test]
    fn absent_values_are_skipped() {
        let some = Baggage { cluster: None, workload_type: None, region: None, ..full() };
        assert_eq!(
            some.encode(),
            "k8s.namespace.name=ns1,service.name=s1,service.version=v1,cloud.availability_zone=z1"
        );
    }

    #[test]
    fn each_workload_type_and_the_last_one_wins() {
        for kind in [WorkloadType::Deployment, WorkloadType::Cronjob, WorkloadType::Pod, WorkloadType::Job] {
            let text = std::format!("k8s.{}.name=x", kind.as_str());
            let expected =
                Baggage { workload_type: Some(kind), workload_name: Some("x".into()), ..Baggage::default() };
            assert_eq!(parse(&text), expected);
            assert_eq!(expected.encode(), text);
        }
        let last = parse("k8s.pod.name=a,k8s.job.name=b");
        assert_eq!((last.workload_type, last.workload_name.as_deref()), (Some(WorkloadType::Job), Some("b")));
    }

    #[test]
    fn odd_pairs_as_istio_reads_them() {
        for (text, cluster) in [
            ("k8s.cluster.name=a=b", Some("a")),
            ("k8s.cluster.name", None),
            (" k8s.cluster.name=a", None),
            ("k8s.cluster.name= a ", Some(" a ")),
            ("K8S.cluster.name=a", None),
            ("k8s.cluster.name=%41", Some("%41")),
            (",,=,=a,x=y,k8s.set.name=q,k8s.cluster.name=a,,", Some("a")),
            ("k8s.cluster.name=a,k8s.cluster.name=b", Some("b")),
        ] {
            let expected = Baggage { cluster: cluster.map(Into::into), ..Baggage::default() };
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn a_line_that_is_not_visible_ascii_spoils_all() {
        for bad in [&b"k8s.cluster.name=\xc3\xa9"[..], b"\0", b"\x7f", b"\n"] {
            assert_eq!(Baggage::parse([FULL.as_bytes(), bad]), None);
        }
        assert!(Baggage::parse([&b"\t ~"[..]]).is_some());
    }

    #[test]
    fn values_that_the_form_cannot_carry_are_left_out() {
        for value in ["a,k8s.pod.name=x", "a=b", "a\r\nb", "é", " a", "a ", ""] {
            let baggage =
                Baggage { cluster: Some(value.into()), zone: Some("z".into()), ..Baggage::default() };
            assert_eq!(baggage.encode(), "cloud.availability_zone=z", "{value:?}");
        }
    }

    fn value() -> impl Strategy<Value = Option<Arc<str>>> {
        prop::option::of("[!-+--<>-~]([ -+--<>-~]{0,6}[!-+--<>-~])?".prop_map(Into::into))
    }

    proptest! {
        #[test]
        fn any_octets_parse_or_not(values: Vec<Vec<u8>>) {
            let visible = values.iter().flatten().all(|b| matches!(b, b'\t' | b' '..=b'~'));
            let parsed = Baggage::parse(values.iter().map(Vec::as_slice));
            prop_assert_eq!(parsed.is_some(), visible);
        }

        #[test]
        fn round_trip(values in prop::array::uniform7(value())) {
            let [cluster, namespace, workload_name, service_name, service_version, region, zone] = values;
            let workload_type = workload_name.as_ref().map(|_| WorkloadType::Pod);
            let baggage = Baggage {
                cluster, namespace, workload_type, workload_name, service_name, service_version, region, zone,
            };
            prop_assert_eq!(parse(&baggage.encode()), baggage);
        }
    }
}
