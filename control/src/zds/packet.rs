//! Packets: what the agent says, decoded, and what it is answered.

use std::sync::Arc;

use adit_core::inpod::{Message, NetnsId, Refusal};
use adit_core::proxy::LocalWorkload;
use prost::Message as _;

use crate::proto::istio::workload::zds::{
    Ack, AddWorkload, Version, WorkloadRequest, WorkloadResponse, ZdsHello, workload_request,
    workload_response,
};

/// Longest packet in either direction, in octets.
pub const MAX_PACKET: usize = 1024;
/// Octets of an ack's text: what is longer would not fit into a packet.
const MAX_ERROR: usize = 1000;

/// Why a packet cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum PacketError {
    /// `MSG_TRUNC`.
    #[error("it is longer than {MAX_PACKET} octets")]
    TooLong,
    /// `MSG_CTRUNC`: more file descriptors than there is room for, or no room for one more in this process.
    #[error("its file descriptors were cut off: too many in one packet, or this process has too many open")]
    DescriptorsCut,
    /// A number of file descriptors that does not go with the message.
    #[error("{found} file descriptors where {expected} are expected")]
    Descriptors {
        /// How many there must be.
        expected: usize,
        /// How many came.
        found: usize,
    },
    /// A file descriptor that cannot be looked at.
    #[error("cannot look at its file descriptor: {0}")]
    Stat(Arc<str>),
    /// Not protobuf.
    #[error("it is no WorkloadRequest: {0}")]
    Malformed(Arc<str>),
    /// No request, or one of another version of ZDS.
    #[error("it asks for nothing known")]
    Unknown,
    /// Pods are told apart by uid.
    #[error("it names no uid")]
    NoUid,
}

/// Decodes a packet that came with `namespaces`, one for each file descriptor.
///
/// # Errors
/// It is no request, or has the wrong number of file descriptors.
pub fn request<N>(octets: &[u8], mut namespaces: Vec<(NetnsId, N)>) -> Result<Message<N>, PacketError> {
    use workload_request::Payload;

    let decoded = WorkloadRequest::decode(octets);
    let request = decoded.map_err(|error| PacketError::Malformed(error.to_string().into()))?;
    let payload = request.payload.ok_or(PacketError::Unknown)?;
    let expected = usize::from(matches!(payload, Payload::Add(_)));
    let found = namespaces.len();
    if found != expected {
        return Err(PacketError::Descriptors { expected, found });
    }
    match payload {
        Payload::Add(add) => {
            let (id, netns) = namespaces.pop().ok_or(PacketError::Descriptors { expected: 1, found: 0 })?;
            added(add, id, netns)
        }
        Payload::Keep(keep) => Ok(Message::Keep { uid: uid(keep.uid)? }),
        Payload::Del(del) => Ok(Message::Del { uid: uid(del.uid)? }),
        Payload::SnapshotSent(_) => Ok(Message::SnapshotSent),
    }
}

fn added<N>(add: AddWorkload, netns_id: NetnsId, netns: N) -> Result<Message<N>, PacketError> {
    let uid = uid(add.uid)?;
    let Some(info) = add.workload_info else { return Ok(Message::AddWithoutWorkload { uid }) };
    let workload = LocalWorkload {
        namespace: info.namespace.into(),
        name: info.name.into(),
        service_account: info.service_account.into(),
    };
    Ok(Message::Add { uid, workload, netns_id, netns })
}

fn uid(text: String) -> Result<Arc<str>, PacketError> {
    if text.is_empty() { Err(PacketError::NoUid) } else { Ok(text.into()) }
}

/// The first packet of a connection.
pub(super) fn hello() -> Vec<u8> {
    ZdsHello { version: Version::V1.into() }.encode_to_vec()
}

/// The answer to a request.
pub(super) fn ack(error: Option<&Refusal>) -> Vec<u8> {
    let mut text = error.map(ToString::to_string).unwrap_or_default();
    text.truncate(text.floor_char_boundary(MAX_ERROR));
    let payload = workload_response::Payload::Ack(Ack { error: text });
    WorkloadResponse { payload: Some(payload) }.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use adit_core::inpod::StartError;

    use super::*;

    const NETNS: NetnsId = NetnsId { device: 4, inode: 1 };

    fn fds(count: usize) -> Vec<(NetnsId, u8)> {
        vec![(NETNS, 9); count]
    }

    /// Octets as Istio's own agent writes them (field numbers of interfaces §1.7).
    #[test]
    fn packets_of_the_agent() {
        let info = b"\x0a\x01p\x12\x02ns\x1a\x02sa";
        let mut add = b"\x0a\x10\x0a\x01u\x12\x0b".to_vec();
        add.extend(info);
        let workload =
            LocalWorkload { namespace: "ns".into(), name: "p".into(), service_account: "sa".into() };
        let expected = Message::Add { uid: "u".into(), workload, netns_id: NETNS, netns: 9 };
        assert_eq!(request(&add, fds(1)), Ok(expected));
        let bare = Message::AddWithoutWorkload { uid: "u".into() };
        assert_eq!(request(b"\x0a\x03\x0a\x01u", fds(1)), Ok(bare));
        assert_eq!(request(b"\x12\x03\x12\x01u", fds(0)), Ok(Message::Del { uid: "u".into() }));
        assert_eq!(request(b"\x1a\x00", fds(0)), Ok(Message::SnapshotSent));
        assert_eq!(request(b"\x2a\x03\x0a\x01u", fds(0)), Ok(Message::Keep { uid: "u".into() }));
    }

    #[test]
    fn packets_that_are_none() {
        let descriptors = |expected, found| Err(PacketError::Descriptors { expected, found });
        let cases: [(&[u8], _, _); 9] = [
            (b"\x0a\x03\x0a\x01u", 0, descriptors(1, 0)),
            (b"\x0a\x03\x0a\x01u", 2, descriptors(1, 2)),
            (b"\x1a\x00", 1, descriptors(0, 1)),
            (b"\x12\x03\x12\x01u", 1, descriptors(0, 1)),
            (b"\x0a\x00", 1, Err(PacketError::NoUid)),
            (b"\x12\x03\x0a\x01u", 0, Err(PacketError::NoUid)),
            (b"\x2a\x00", 0, Err(PacketError::NoUid)),
            (b"", 0, Err(PacketError::Unknown)),
            (b"\x22\x00", 0, Err(PacketError::Unknown)),
        ];
        for (octets, count, expected) in cases {
            assert_eq!(request(octets, fds(count)), expected, "{}", octets.escape_ascii());
        }
        let malformed = request(b"\x0a\x7f", fds(1));
        assert!(matches!(malformed, Err(PacketError::Malformed(_))), "{malformed:?}");
    }

    #[test]
    fn what_we_say() {
        assert_eq!(hello(), b"\x08\x01");
        assert_eq!(ack(None), b"\x0a\x00");
        let error = Refusal::Unreadable("why".into());
        let text = b"cannot read the request: why";
        assert_eq!(ack(Some(&error)), [&b"\x0a\x1e\x0a\x1c"[..], text].concat());
    }

    #[test]
    fn an_answer_fits_into_a_packet() {
        for text in ["x", "ü", "€"].map(|text| text.repeat(2000)) {
            let error = StartError::Failed(text.into());
            let octets = ack(Some(&Refusal::NotStarted { uid: "u".into(), error }));
            assert!(octets.len() > 990 && octets.len() <= MAX_PACKET, "{}", octets.len());
            assert!(WorkloadResponse::decode(&*octets).is_ok());
        }
    }
}
