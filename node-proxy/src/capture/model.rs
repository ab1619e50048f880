//! A redirection rule as data, whoever writes it into the kernel.
use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The address that traffic of an application to itself goes to, which is never captured.
    #[must_use]
    pub const fn loopback(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Self::V6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
        }
    }

    /// The address that the node gives to kubelet's probes (`HOST_PROBE_SNAT_IP`, `HOST_PROBE_SNAT_IPV6`).
    #[must_use]
    pub const fn probe(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::new(169, 254, 7, 127)),
            Self::V6 => {
                let (prefix, host) = ([0xfd16, 0x9254, 0x7127, 0x1337], 0xffff);
                let [a, b, c, d] = prefix;
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, host, host, host, host))
            }
        }
    }

    /// The family of `address`.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// A netfilter table, in the order in which packets meet them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Before connections are tracked.
    Raw,
    /// Marks.
    Mangle,
    /// Redirection.
    Nat,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Raw, Self::Mangle, Self::Nat];
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw",
            Self::Mangle => "mangle",
            Self::Nat => "nat",
        })
    }
}

/// Where packets pass. Each of our chains hangs on one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hook {
    /// Packets that come in.
    Prerouting,
    /// Packets that applications send.
    Output,
}

impl Hook {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Prerouting, Self::Output];
}

/// One of our chains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Chain {
    /// Its table.
    pub table: Table,
    /// What it hangs on.
    pub hook: Hook,
}

impl Chain {
    /// The chain of `table` on `hook`.
    #[must_use]
    pub const fn new(table: Table, hook: Hook) -> Self {
        Self { table, hook }
    }

    /// All that there may be.
    pub fn all() -> impl Iterator<Item = Self> {
        Table::ALL.into_iter().flat_map(|table| Hook::ALL.map(|hook| Self { table, hook }))
    }
}

/// Some bits of a packet's or a connection's mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mark {
    /// What the bits of the mask are.
    pub value: u32,
    /// The bits that count.
    pub mask: u32,
}

impl Mark {
    const MASK: u32 = 0xfff;
    /// On every packet of the proxy's own sockets (1337), so that they are not captured again.
    pub const PROXY: Self = Self { value: 0x539, mask: Self::MASK };
    /// On connections that the proxy opened under a client's address: their answers must come back to the proxy.
    pub const BORROWED: Self = Self { value: 0x111, mask: Self::MASK };
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}/{:#x}", self.value, self.mask)
    }
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// The name of a network interface.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Interface(String);

/// Why a text names no interface.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error(
    "{0:?} names no interface: 1 to 15 visible ASCII characters, without / : \" \\ * + and not beginning with - or !"
)]
pub struct InterfaceError(String);

impl Interface {
    /// The loopback interface.
    #[must_use]
    pub fn loopback() -> Self {
        Self("lo".to_owned())
    }
}

impl FromStr for Interface {
    type Err = InterfaceError;

    /// Stricter than the kernel: what iptables or nft would read as something else is refused.
    fn from_str(text: &str) -> Result<Self, InterfaceError> {
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"/:\"\\*+'`$;,{}#".contains(&byte);
        let named = (1..=15).contains(&text.len()) && text.bytes().all(plain);
        if named && !text.starts_with(['-', '!']) && text != "." && text != ".." {
            Ok(Self(text.to_owned()))
        } else {
            Err(InterfaceError(text.to_owned()))
        }
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A condition on packets. `not` turns it round.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Match {
    /// Comes from this address.
    Source(IpAddr),
    /// Goes to this address.
    Destination {
        /// The address.
        address: IpAddr,
        /// To any other, rather.
        not: bool,
    },
    /// Came in by this interface.
    Input(Interface),
    /// Leaves by this interface.
    Output {
        /// The interface.
        interface: Interface,
        /// By any other, rather.
        not: bool,
    },
    /// Is of this protocol.
    Protocol(Protocol),
    /// Comes from this port.
    SourcePort(u16),
    /// Goes to this port.
    DestinationPort {
        /// The port.
        port: u16,
        /// To any other, rather.
        not: bool,
    },
    /// Has this mark.
    Mark {
        /// The mark.
        mark: Mark,
        /// Has it not, rather.
        not: bool,
    },
    /// Belongs to a connection with this mark.
    ConnectionMark(Mark),
}

/// What is done with packets that match.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// They get a listener of this namespace at this port.
    Redirect(u16),
    /// They pass, past all later rules.
    Accept,
    /// They leave the chain.
    Return,
    /// Their connection gets these bits of a mark.
    SetConnectionMark(Mark),
    /// They get their connection's mark.
    RestoreMark,
    /// Their connection is tracked in this zone, apart from others.
    Zone(u16),
}

/// A rule: all conditions, whose order means nothing, and what is done.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rule {
    /// The conditions.
    pub matches: BTreeSet<Match>,
    /// What is done.
    pub action: Action,
}

impl Rule {
    /// A rule.
    pub fn new(matches: impl IntoIterator<Item = Match>, action: Action) -> Self {
        Self { matches: matches.into_iter().collect(), action }
    }

    /// The family that its addresses are of; `None` if it has none, and holds for both.
    #[must_use]
    pub fn family(&self) -> Option<Family> {
        self.matches.iter().find_map(|condition| match condition {
            Match::Source(address) | Match::Destination { address, .. } => Some(Family::of(*address)),
            _ => None,
        })
    }

    /// The protocol it is about.
    #[must_use]
    pub fn protocol(&self) -> Option<Protocol> {
        self.matches.iter().find_map(|condition| match condition {
            Match::Protocol(protocol) => Some(*protocol),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_interfaces() {
        for name in ["eth0", "net1", "eth0.100", "veth-a_b", "fifteen-chars-x"] {
            assert_eq!(name.parse::<Interface>().map(|it| it.to_string()), Ok(name.to_owned()));
        }
        for name in [
            "",
            "sixteen-chars-xx",
            "a b",
            "a/b",
            "eth+",
            "*",
            "a\"b",
            "-j",
            "!x",
            ".",
            "..",
            "ä",
            "a:1",
            "a\n",
        ] {
            assert!(name.parse::<Interface>().is_err(), "{name:?}");
        }
    }
}
