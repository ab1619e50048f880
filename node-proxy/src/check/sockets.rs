//! The TCP sockets of a network namespace, as `/proc` lists them.
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// State of a listening socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// A TCP socket. Addresses are IPv4 where they are IPv4 in IPv6's clothes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct TcpSocket {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) listens: bool,
}

/// All TCP sockets of this thread's namespace.
pub(super) fn tcp() -> io::Result<Vec<TcpSocket>> {
    // /proc/net would be that of the process's first thread.
    let mut sockets = parse(&fs::read_to_string("/proc/thread-self/net/tcp")?);
    match fs::read_to_string("/proc/thread-self/net/tcp6") {
        Ok(text) => sockets.extend(parse(&text)),
        // The kernel has no IPv6.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(sockets)
}

/// Reads the text of either file; what is no socket (the head line) is passed over.
fn parse(text: &str) -> Vec<TcpSocket> {
    let socket = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (local, remote) = (address(words.next()?)?, address(words.next()?)?);
        Some(TcpSocket { local, remote, listens: words.next()? == LISTEN })
    };
    text.lines().filter_map(socket).collect()
}

/// `0100007F:3A98`: words of 32 bits as the processor has them, and the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let word = |index: usize| {
        let digits = address.get(index * 8..index * 8 + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    let address = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut octets = [0; 16];
            for (index, place) in octets.chunks_exact_mut(4).enumerate() {
                place.copy_from_slice(&word(index)?);
            }
            Ipv6Addr::from(octets).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(all(test, target_endian = "little"))]
mod tests {
    use super::*;

    #[test]
    fn both_files_are_read() {
        let v4 = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0100007F:3A99 01004D0A:C350 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0\n   \
            1: 00000000:3AA0 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0\n";
        let v6 = "   0: 0000000000000000FFFF00000100007F:3A99 0000000000000000FFFF000001004D0A:C350 01 0:0\n   \
            1: 00000000000000000000000001000000:3A99 000077FD000000000000000002000000:0009 08 0:0\n";
        let of = |local: &str, remote: &str, listens| TcpSocket {
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            listens,
        };
        let established = of("127.0.0.1:15001", "10.77.0.1:50000", false);
        assert_eq!(parse(v4), [established, of("0.0.0.0:15008", "0.0.0.0:0", true)]);
        assert_eq!(parse(v6), [established, of("[::1]:15001", "[fd77::2]:9", false)]);
    }

    #[test]
    fn nonsense_is_no_socket() {
        for text in ["", "x", "0: 00:1 00:1 01", "0: 0100007F 0100007F:1 01", "0: GGGGGGGG:1 0100007F:1 01"] {
            assert_eq!(parse(text), [], "{text:?}");
        }
    }
}
