//! SOCKS5 as the proxy's outbound entry speaks it (RFC 1928; datapath §1.7): version 5, no authentication, CONNECT only.
//!
//! The machine asks for exactly the handshake and not one octet more, so that what follows belongs to the application.
use alloc::sync::Arc;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use smallvec::SmallVec;

use crate::dns::NameError;

/// The longest handshake message: a request whose name has 255 octets.
const MAX_MESSAGE: usize = 4 + 1 + 255 + 2;

/// RFC 1928 §3 and §6 constants.
const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const NO_ACCEPTABLE_METHOD: u8 = 0xff;
const COMMAND_CONNECT: u8 = 1;
const ADDRESS_V4: u8 = 1;
const ADDRESS_NAME: u8 = 3;
const ADDRESS_V6: u8 = 4;

/// A reply to the client, to be written before anything else; often empty.
pub type Reply = SmallVec<[u8; 16]>;

/// A client's handshake in progress. It holds at most 262 octets, on the heap only for names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Socks5 {
    peer: SocketAddr,
    phase: Phase,
    message: SmallVec<[u8; 32]>,
}

/// ```text
/// Greeting ──methods──▶ Request ──CONNECT──▶ Over (a name is looked up by the owner)
///     └──────refused───────┴─────refused──────▲
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Greeting,
    Request,
    Over,
}

/// What some octets led to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SocksStep {
    /// Send the reply and read on.
    More(Reply),
    /// Send the reply, then go on as with a captured connection. The reply says success already: upstream says so
    /// before it dials.
    Connect {
        /// Where the client wants to go; never IPv4 in IPv6 clothes (datapath §1.5).
        to: SocketAddr,
        /// What to send.
        reply: Reply,
    },
    /// The client named a host. Look it up; then send [`succeeded`] and go on as with `Connect`, or send [`refused`] and
    /// close.
    Resolve {
        /// In lower case; a dot at its end says that no search domain is meant.
        name: Arc<str>,
        /// Of the address to be.
        port: u16,
    },
    /// Send the reply, then close.
    Refused {
        /// What to send.
        reply: Reply,
        /// Why.
        error: SocksError,
    },
}

/// Why a client was refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum SocksError {
    /// The first octet is not 5: SOCKS4, TLS, HTTP or anything else.
    #[error("socks: expected version 5, got {0}")]
    Version(u8),
    /// Nothing but methods with authentication.
    #[error("socks: the client offers no method without authentication")]
    Method,
    /// BIND or UDP ASSOCIATE.
    #[error("socks: expected command CONNECT, got {0}")]
    Command(u8),
    /// An address type that RFC 1928 does not know.
    #[error("socks: unknown address type {0}")]
    AddressType(u8),
    /// Octets that are no name of a host; they are not repeated.
    #[error("socks: {}", NameError::Invalid)]
    Name,
    /// A host that has no address.
    #[error("socks: {name} cannot be resolved: {error}")]
    Unresolved {
        /// The name.
        name: Arc<str>,
        /// Why not.
        error: NameError,
    },
}

impl SocksError {
    /// The reply octet of RFC 1928 §6; `None` where the refusal is of the greeting (§3).
    const fn code(&self) -> Option<u8> {
        match self {
            Self::Version(_) | Self::Method => None,
            Self::Command(_) => Some(0x07),
            // 0x08: "Address type not supported".
            Self::AddressType(_) | Self::Name | Self::Unresolved { error: NameError::NoResolver, .. } => {
                Some(0x08)
            }
            // 0x04: "Host unreachable".
            Self::Unresolved { .. } => Some(0x04),
        }
    }
}

impl Socks5 {
    /// The client at `peer` has connected and said nothing yet.
    #[must_use]
    pub fn new(peer: SocketAddr) -> Self {
        Self { peer, phase: Phase::Greeting, message: SmallVec::new() }
    }

    /// The client's address.
    #[must_use]
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// How many octets to read next, never more than are certain to belong to the handshake: what a hasty client sends
    /// behind it stays in the socket, for the application. 0 when the handshake is over.
    #[must_use]
    pub fn wanted(&self) -> usize {
        let whole = match (self.phase, self.message.as_slice()) {
            (Phase::Over, _) => 0,
            (Phase::Greeting, [_, count, ..]) => usize::from(*count).saturating_add(2),
            (Phase::Greeting, _) => 2,
            (Phase::Request, [_, _, _, ADDRESS_V4, ..]) => 4 + 4 + 2,
            (Phase::Request, [_, _, _, ADDRESS_V6, ..]) => 4 + 16 + 2,
            (Phase::Request, [_, _, _, ADDRESS_NAME, length, ..]) => {
                usize::from(*length).saturating_add(4 + 1 + 2)
            }
            // Even a name of no octets has a length and a port behind it.
            (Phase::Request, _) => 5,
        };
        whole.saturating_sub(self.message.len())
    }

    /// Handles octets from the client, at most [`Socks5::wanted`] of them: those behind the end of the handshake would
    /// be dropped.
    pub fn handle(&mut self, bytes: &[u8]) -> SocksStep {
        let mut reply = Reply::new();
        for byte in bytes {
            if self.phase == Phase::Over || self.message.len() >= MAX_MESSAGE {
                break;
            }
            self.message.push(*byte);
            let step = match self.phase {
                Phase::Greeting => greeting(&self.message).map(|()| None),
                Phase::Request => request(&self.message).map(Some),
                Phase::Over => break,
            };
            match step {
                Err(Unfinished::More) => {}
                Err(Unfinished::Refused(error)) => {
                    self.phase = Phase::Over;
                    answer(&mut reply, error.code());
                    return SocksStep::Refused { reply, error };
                }
                Ok(None) => {
                    self.phase = Phase::Request;
                    self.message.clear();
                    reply.extend_from_slice(&[VERSION, NO_AUTHENTICATION]);
                }
                Ok(Some(Target::Address(to))) => {
                    self.phase = Phase::Over;
                    answer(&mut reply, Some(0));
                    return SocksStep::Connect { to, reply };
                }
                Ok(Some(Target::Name(name, port))) => {
                    self.phase = Phase::Over;
                    return SocksStep::Resolve { name, port };
                }
            }
        }
        SocksStep::More(reply)
    }
}

/// Appends the reply of RFC 1928 §6 with bound address `0.0.0.0:0`, or the refusal of all methods (§3).
fn answer(out: &mut Reply, code: Option<u8>) {
    match code {
        Some(code) => out.extend_from_slice(&[VERSION, code, 0, ADDRESS_V4, 0, 0, 0, 0, 0, 0]),
        None => out.extend_from_slice(&[VERSION, NO_ACCEPTABLE_METHOD]),
    }
}

/// What a request is for.
enum Target {
    Address(SocketAddr),
    Name(Arc<str>, u16),
}

enum Unfinished {
    More,
    Refused(SocksError),
}

/// `VER NMETHODS METHODS…` (RFC 1928 §3); at least one method, one of them 0.
fn greeting(message: &[u8]) -> Result<(), Unfinished> {
    version(message)?;
    let [_, count, methods @ ..] = message else { return Err(Unfinished::More) };
    if methods.len() < usize::from(*count) {
        return Err(Unfinished::More);
    }
    if methods.contains(&NO_AUTHENTICATION) { Ok(()) } else { Err(Unfinished::Refused(SocksError::Method)) }
}

/// `VER CMD RSV ATYP DST.ADDR DST.PORT` (RFC 1928 §4). Refused as soon as it is clear that it will be, except that a
/// name is read to its end, so that the client has finished sending when it is refused.
fn request(message: &[u8]) -> Result<Target, Unfinished> {
    version(message)?;
    let [_, command, rest @ ..] = message else { return Err(Unfinished::More) };
    if *command != COMMAND_CONNECT {
        return Err(Unfinished::Refused(SocksError::Command(*command)));
    }
    let [_reserved, address_type, rest @ ..] = rest else { return Err(Unfinished::More) };
    match *address_type {
        ADDRESS_V4 => {
            let (address, port) = rest.split_first_chunk::<4>().ok_or(Unfinished::More)?;
            target(IpAddr::V4(Ipv4Addr::from(*address)), port)
        }
        ADDRESS_V6 => {
            let (address, port) = rest.split_first_chunk::<16>().ok_or(Unfinished::More)?;
            target(IpAddr::V6(Ipv6Addr::from(*address)), port)
        }
        ADDRESS_NAME => {
            let (length, rest) = rest.split_first().ok_or(Unfinished::More)?;
            let (name, port) = rest.split_at_checked(usize::from(*length)).ok_or(Unfinished::More)?;
            let port_of = |port: &[u8]| port.first_chunk().map(|port| u16::from_be_bytes(*port));
            let number = port_of(port).ok_or(Unfinished::More)?;
            let name = core::str::from_utf8(name).map_err(|_| Unfinished::Refused(SocksError::Name))?;
            // Some clients send an address as text where a name may stand; that needs no DNS.
            match name.parse() {
                Ok(address) => target(address, port),
                Err(_) if is_host(name) => Ok(Target::Name(name.to_ascii_lowercase().into(), number)),
                Err(_) => Err(Unfinished::Refused(SocksError::Name)),
            }
        }
        other => Err(Unfinished::Refused(SocksError::AddressType(other))),
    }
}

fn version(message: &[u8]) -> Result<(), Unfinished> {
    match message.first() {
        None => Err(Unfinished::More),
        Some(&VERSION) => Ok(()),
        Some(other) => Err(Unfinished::Refused(SocksError::Version(*other))),
    }
}

/// IPv4 in IPv6 clothes counts as IPv4, as everywhere in the data path (datapath §1.5).
fn target(address: IpAddr, port: &[u8]) -> Result<Target, Unfinished> {
    let port = port.first_chunk::<2>().ok_or(Unfinished::More)?;
    Ok(Target::Address(SocketAddr::new(address.to_canonical(), u16::from_be_bytes(*port))))
}

/// Whether it can be asked for in DNS, and shown in a log.
fn is_host(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label =
        |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(|octet| octet.is_ascii_graphic());
    name.len() <= 253 && name.split('.').all(is_label)
}

/// The reply to a request whose host has been found: success, as upstream says before it dials.
#[must_use]
pub fn succeeded() -> Reply {
    let mut reply = Reply::new();
    answer(&mut reply, Some(0));
    reply
}

/// The reply to a request that is refused because of `error`.
#[must_use]
pub fn refused(error: &SocksError) -> Reply {
    let mut reply = Reply::new();
    answer(&mut reply, error.code());
    reply
}

#[cfg(test)]
mod tests;
