//! The CONNECT request and its answer as header fields (datapath §3.1–3.3).
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::baggage::visible;
use super::{Authority, Baggage, Forwarded, TraceParent};
use crate::http2::Field;

const BAGGAGE: &str = "baggage";
const FORWARDED: &str = "forwarded";
const TRACEPARENT: &str = "traceparent";
const NETWORK: &str = "x-forwarded-network";

/// A request for one user connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct ConnectRequest {
    /// Where to.
    pub authority: Authority,
    /// The source workload's metadata. Always sent, `None` as the empty header; when received, `None` means that there was
    /// no header or an unreadable one.
    pub baggage: Option<Baggage>,
    /// The user connection's source and intended host; `None` when absent or unusable.
    pub forwarded: Option<Forwarded>,
    /// The trace; `None` when absent or malformed.
    pub traceparent: Option<TraceParent>,
    /// `x-forwarded-network`: the source's network, in the inner request of a double HBONE; may be empty.
    pub forwarded_network: Option<Arc<str>>,
}

/// Why a request is answered 400. The texts quote at most [`RequestError::MAX_QUOTE`] octets of what was received, with
/// anything other than visible text replaced.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum RequestError {
    /// The method is another, or missing (then empty).
    #[error("expected method CONNECT, got {0}")]
    Method(Arc<str>),
    /// `:authority` is missing (then empty), sent twice, or lacks a usable host or port.
    #[error("no valid authority pseudo header: {0}")]
    Authority(Arc<str>),
    /// An extended CONNECT (RFC 8441), which we do not offer, or one with `:scheme` or `:path` (RFC 9113 §8.5).
    #[error("CONNECT must not have the pseudo header {0}")]
    Extended(Arc<str>),
}

impl RequestError {
    /// Most octets of a peer's text that an error holds.
    pub const MAX_QUOTE: usize = 256;
}

impl ConnectRequest {
    /// Reads a request's fields, in any order; those of no interest are passed over.
    ///
    /// # Errors
    /// Any [`RequestError`], the method's first.
    pub fn from_fields(fields: &[Field]) -> Result<Self, RequestError> {
        let method = values(fields, ":method").next().unwrap_or_default();
        if method != b"CONNECT" {
            return Err(RequestError::Method(quote(method)));
        }
        let extended = |field: &&Field| matches!(&*field.name, b":scheme" | b":path" | b":protocol");
        if let Some(field) = fields.iter().find(extended) {
            return Err(RequestError::Extended(quote(&field.name)));
        }
        let authority =
            only(values(fields, ":authority")).and_then(|value| Authority::parse(value).ok()).ok_or_else(
                || RequestError::Authority(quote(values(fields, ":authority").next().unwrap_or_default())),
            )?;
        Ok(Self {
            authority,
            baggage: baggage(fields),
            forwarded: values(fields, FORWARDED).next().and_then(Forwarded::parse),
            traceparent: only(values(fields, TRACEPARENT)).and_then(TraceParent::parse),
            forwarded_network: values(fields, NETWORK).next().and_then(visible).map(Into::into),
        })
    }

    /// The fields in the order in which Istio sends them.
    #[must_use]
    pub fn to_fields(&self) -> Vec<Field> {
        self.lines().iter().map(|(name, value)| Field::new(name, value)).collect()
    }

    /// The same, in two allocations: one is sent for each connection.
    pub(crate) fn lines(&self) -> Lines {
        let mut lines = Lines { text: String::with_capacity(256), ends: Vec::with_capacity(6) };
        lines.add(":method", |text| text.push_str("CONNECT"));
        lines.add(":authority", |text| self.authority.write(text));
        lines.add(BAGGAGE, |text| {
            if let Some(baggage) = &self.baggage {
                baggage.write(text);
            }
        });
        if let Some(forwarded) = &self.forwarded {
            lines.add(FORWARDED, |text| forwarded.write(text));
            lines.drop_if_empty();
        }
        if let Some(trace) = &self.traceparent {
            lines.add(TRACEPARENT, |text| trace.write(text));
        }
        let network = self.forwarded_network.as_deref().filter(|value| visible(value.as_bytes()).is_some());
        if let Some(network) = network {
            lines.add(NETWORK, |text| text.push_str(network));
        }
        lines
    }
}

/// Header fields with their values in one text.
#[derive(Debug)]
pub(crate) struct Lines {
    text: String,
    /// Names, and where their values end.
    ends: Vec<(&'static str, usize)>,
}

impl Lines {
    fn add(&mut self, name: &'static str, value: impl FnOnce(&mut String)) {
        value(&mut self.text);
        self.ends.push((name, self.text.len()));
    }

    /// Takes the last field back if it has no value.
    fn drop_if_empty(&mut self) {
        if let [.., (_, before), (_, end)] = *self.ends
            && before == end
        {
            self.ends.pop();
        }
    }

    /// Names and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let starts = core::iter::once(0).chain(self.ends.iter().map(|&(_, end)| end));
        self.ends.iter().zip(starts).map(|(&(name, end), start)| {
            (name.as_bytes(), self.text.as_bytes().get(start..end).unwrap_or_default())
        })
    }
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct ConnectResponse {
    /// The HTTP status; only 200 opens the tunnel.
    pub status: u16,
    /// The destination workload's metadata, with a 200 only; `None` when absent or unreadable.
    pub baggage: Option<Baggage>,
}

impl ConnectResponse {
    /// Reads the fields that came with `status`.
    #[must_use]
    pub fn from_fields(status: u16, fields: &[Field]) -> Self {
        Self { status, baggage: baggage(fields) }
    }

    /// The fields beside `:status`, which goes its own way (`http2::Connection::respond`).
    #[must_use]
    pub fn to_fields(&self) -> Vec<Field> {
        self.baggage.iter().map(|baggage| field(BAGGAGE, baggage.encode())).collect()
    }
}

fn field(name: &str, value: String) -> Field {
    Field { name: name.as_bytes().into(), value: value.into_bytes().into() }
}

fn values<'a>(fields: &'a [Field], name: &str) -> impl Iterator<Item = &'a [u8]> {
    fields.iter().filter(move |field| &*field.name == name.as_bytes()).map(|field| &*field.value)
}

/// The only item, if there is exactly one.
fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    items.next().filter(|_| items.next().is_none())
}

fn baggage(fields: &[Field]) -> Option<Baggage> {
    let mut lines = values(fields, BAGGAGE).peekable();
    lines.peek()?;
    Baggage::parse(lines)
}

/// A peer's text made fit for a log line.
fn quote(text: &[u8]) -> Arc<str> {
    let text = text.get(..RequestError::MAX_QUOTE).unwrap_or(text);
    let replace = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    String::from_utf8_lossy(text).chars().map(replace).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use std::borrow::ToOwned;
    use std::string::ToString;
    use std::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::hbone::baggage::WorkloadType;

    fn fields(pairs: &[(&str, &str)]) -> Vec<Field> {
        pairs.iter().map(|&(name, value)| field(name, value.to_owned())).collect()
    }

    fn target() -> Authority {
        Authority::parse(b"10.0.0.1:80").unwrap()
    }

    fn plain() -> ConnectRequest {
        ConnectRequest {
            authority: target(),
            baggage: None,
            forwarded: None,
            traceparent: None,
            forwarded_network: None,
        }
    }

    #[test]
    fn full_request_both_ways() {
        let request = ConnectRequest {
            baggage: Some(Baggage {
                workload_type: Some(WorkloadType::Pod),
                workload_name: Some("w".into()),
                ..Baggage::default()
            }),
            forwarded: Forwarded::parse(b"for=\"10.0.0.9:99\";host=h"),
            traceparent: Some(TraceParent { trace_id: 1, span_id: 2, flags: 0 }),
            forwarded_network: Some("".into()),
            ..plain()
        };
        let expected = fields(&[
            (":method", "CONNECT"),
            (":authority", "10.0.0.1:80"),
            ("baggage", "k8s.pod.name=w"),
            ("forwarded", "for=\"10.0.0.9:99\";host=h"),
            ("traceparent", "00-00000000000000000000000000000001-0000000000000002-00"),
            ("x-forwarded-network", ""),
        ]);
        assert_eq!(request.to_fields(), expected);
        assert_eq!(ConnectRequest::from_fields(&expected), Ok(request));
    }

    #[test]
    fn baggage_is_always_sent() {
        let sent = plain().to_fields();
        assert_eq!(sent, fields(&[(":method", "CONNECT"), (":authority", "10.0.0.1:80"), ("baggage", "")]));
        let received = ConnectRequest { baggage: Some(Baggage::default()), ..plain() };
        assert_eq!(ConnectRequest::from_fields(&sent), Ok(received));
    }

    #[test]
    fn what_cannot_be_read_is_as_if_absent() {
        let request = [
            (":method", "CONNECT"),
            (":authority", "10.0.0.1:80"),
            ("baggage", "é"),
            ("forwarded", "nonsense"),
            ("traceparent", "nonsense"),
            ("x-forwarded-network", "é"),
            ("cookie", "x"),
        ];
        assert_eq!(ConnectRequest::from_fields(&fields(&request)), Ok(plain()));
        let parent = "00-00000000000000000000000000000001-0000000000000002-00";
        let twice = [&request[..2], &[("traceparent", parent), ("traceparent", parent)]].concat();
        assert_eq!(ConnectRequest::from_fields(&fields(&twice)), Ok(plain()));
    }

    #[test]
    fn every_baggage_line_counts_and_the_first_of_the_others() {
        let request = ConnectRequest::from_fields(&fields(&[
            ("x-forwarded-network", "n1"),
            ("baggage", "cloud.region=r"),
            (":method", "CONNECT"),
            ("forwarded", "host=a"),
            ("baggage", "service.name=s"),
            (":authority", "10.0.0.1:80"),
            ("forwarded", "host=b"),
            ("x-forwarded-network", "n2"),
        ]))
        .unwrap();
        let baggage = request.baggage.unwrap();
        assert_eq!((baggage.region.as_deref(), baggage.service_name.as_deref()), (Some("r"), Some("s")));
        assert_eq!(request.forwarded.unwrap().host.as_deref(), Some("a"));
        assert_eq!(request.forwarded_network.as_deref(), Some("n1"));
    }

    #[test]
    fn refusals_say_what_was_received() {
        let method = (":method", "CONNECT");
        for (list, text) in [
            (vec![], "expected method CONNECT, got "),
            (vec![(":method", "GET"), (":path", "/")], "expected method CONNECT, got GET"),
            (vec![(":method", "connect")], "expected method CONNECT, got connect"),
            (vec![method], "no valid authority pseudo header: "),
            (vec![method, ("host", "a:80")], "no valid authority pseudo header: "),
            (vec![method, (":authority", "host")], "no valid authority pseudo header: host"),
            (vec![method, (":authority", "a\u{1b}[m:x")], "no valid authority pseudo header: a\u{fffd}[m:x"),
            (
                vec![method, (":authority", "a:80"), (":authority", "b:80")],
                "no valid authority pseudo header: a:80",
            ),
            (
                vec![method, (":authority", "a:80"), (":scheme", "https")],
                "CONNECT must not have the pseudo header :scheme",
            ),
            (
                vec![method, (":authority", "a:80"), (":path", "/")],
                "CONNECT must not have the pseudo header :path",
            ),
            (
                vec![method, (":protocol", "websocket"), (":authority", "a:80")],
                "CONNECT must not have the pseudo header :protocol",
            ),
        ] {
            assert_eq!(ConnectRequest::from_fields(&fields(&list)).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn quotes_are_bounded() {
        for (length, kept) in [(256, 256), (257, 256)] {
            let list = fields(&[(":method", &"M".repeat(length))]);
            assert_eq!(
                ConnectRequest::from_fields(&list),
                Err(RequestError::Method("M".repeat(kept).into()))
            );
        }
    }

    #[test]
    fn network_that_no_header_can_carry_is_not_sent() {
        let request = ConnectRequest { forwarded_network: Some("a\r\nb: c".into()), ..plain() };
        assert_eq!(request.to_fields(), plain().to_fields());
    }

    #[test]
    fn response_both_ways() {
        let refused = ConnectResponse { status: 401, baggage: None };
        assert_eq!(refused.to_fields(), vec![]);
        assert_eq!(ConnectResponse::from_fields(401, &[]), refused);
        let baggage = Baggage { cluster: Some("c".into()), ..Baggage::default() };
        let fine = ConnectResponse { status: 200, baggage: Some(baggage) };
        assert_eq!(fine.to_fields(), fields(&[("baggage", "k8s.cluster.name=c")]));
        assert_eq!(ConnectResponse::from_fields(200, &fine.to_fields()), fine);
    }

    proptest! {
        #[test]
        fn any_fields_are_read_or_refused(
            list in prop::collection::vec(
                (
                    prop::sample::select(vec![
                        ":method", ":authority", "baggage", "forwarded", "traceparent", "x-forwarded-network", ":path",
                    ]),
                    prop_oneof![
                        any::<Vec<u8>>(),
                        Just(b"CONNECT".to_vec()),
                        Just(b"10.0.0.1:80".to_vec()),
                        Just(b"host=a".to_vec()),
                    ],
                ),
                0..8,
            ),
        ) {
            let list: Vec<_> = list
                .into_iter()
                .map(|(name, value)| Field { name: name.as_bytes().into(), value: value.into() })
                .collect();
            match ConnectRequest::from_fields(&list) {
                Ok(mut request) => {
                    // These two may hold what is read but not written, such as spaces.
                    request.baggage = Some(Baggage::default());
                    request.forwarded = None;
                    prop_assert_eq!(ConnectRequest::from_fields(&request.to_fields()), Ok(request));
                }
                Err(error) => prop_assert!(error.to_string().len() < 1000),
            }
        }
    }
}
