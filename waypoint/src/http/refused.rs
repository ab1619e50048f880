//! What never becomes a request: what is told of it all the same (waypoint.md §20.6, §20.7, §26).
use std::error::Error;
use std::time::SystemTime;

use adit_ops::l7::metrics::Reported;
use adit_ops::l7::{Details, Exchange, Http, Protocol, ResponseFlags, Version};

use super::strict::Wrong;
use crate::conn::Conn;
use crate::observe::Told;
use crate::worker::Worker;

/// Why a client's octets are no request. Each ends its connection, so that there is one at most of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    version: Version,
    /// That of the answer; 0 where there is none.
    status: u16,
    flags: ResponseFlags,
    details: Details,
}

impl Refusal {
    /// Why a connection of HTTP/1.1 has ended, if it is for a head that is none.
    pub(crate) fn of_http1(wrong: Option<Wrong>, ended: &hyper::Result<()>) -> Option<Self> {
        let broken = ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR;
        let error = ended.as_ref().err();
        let (status, flags, details) = match wrong {
            Some(Wrong::Slow) => (408, ResponseFlags::NONE, Details::RequestOverallTimeout),
            _ if error.is_some_and(hyper::Error::is_parse_too_large) => {
                (431, broken, Details::RequestHeadersTooLarge)
            }
            _ if error.is_some_and(hyper::Error::is_parse) => (400, broken, Details::Http1CodecError),
            Some(Wrong::Short) => {
                let flags = ResponseFlags::DOWNSTREAM_CONNECTION_TERMINATION;
                (0, flags, Details::DownstreamRemoteDisconnect)
            }
            // Its request tells of it.
            Some(Wrong::Head | Wrong::Body) | None => return None,
        };
        Some(Self { version: Version::Http11, status, flags, details })
    }

    /// Why a connection of HTTP/2 has ended, if the client has broken the protocol so that nothing else could be done. What is
    /// wrong with one stream alone is seen to by h2, which resets it and tells nobody.
    pub(crate) fn of_http2(ended: &hyper::Result<()>) -> Option<Self> {
        let error = h2(ended.as_ref().err()?)?;
        let reason = error.reason().filter(|_| error.is_go_away() && error.is_library())?;
        let details = Details::Http2(format!("{reason:?}").to_lowercase().into());
        let flags = ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR;
        Some(Self { version: Version::Http2, status: 0, flags, details })
    }

    /// Tells of it as of a request of which nothing else is known.
    pub(crate) fn tell(&self, worker: &Worker, conn: &Conn) {
        let outlet = conn.outlet(&worker.shared.in_force.borrow());
        let exchange = Exchange {
            http: Http { version: Some(self.version), status: self.status, ..Http::default() },
            flags: self.flags,
            details: Some(&self.details),
            ..conn.exchange(SystemTime::now(), Protocol::Http)
        };
        let told = Told { exchange: &exchange, outlet: &outlet, traced: None, operation: "" };
        worker.recorder.finished(&told, Reported::default());
    }
}

/// What h2 says, if the error is one of its own.
pub(crate) fn h2(error: &hyper::Error) -> Option<&h2::Error> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return Some(error);
        }
        source = error.source();
    }
    None
}
