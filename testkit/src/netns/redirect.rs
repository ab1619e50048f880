//! The redirection rules of a pod, by iptables or nftables (datapath §1.4, interfaces §3.6; without probes).
use std::fmt;

use super::{Namespace, Result, Scratch};

/// Who writes the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// `iptables` and `ip6tables`.
    Iptables,
    /// `nft`.
    Nftables,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Iptables => "iptables",
            Self::Nftables => "nftables",
        })
    }
}

/// Replies to sockets with a borrowed source address come back to the proxy by this route.
const ROUTES: [&str; 4] = [
    "route add local default dev lo table 100",
    "rule add fwmark 0x111/0xfff pref 32764 lookup 100",
    "-6 route add local default dev lo table 100",
    "-6 rule add fwmark 0x111/0xfff pref 32764 lookup 100",
];

/// One rule a line, `LOOPBACK` standing for the loopback address of the family.
const IPTABLES: [&str; 10] = [
    "-t mangle -A PREROUTING -m mark --mark 0x539/0xfff -j CONNMARK --set-xmark 0x111/0xfff",
    "-t mangle -A OUTPUT -m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff",
    "-t nat -A PREROUTING ! -d LOOPBACK -p tcp ! --dport 15008 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15006",
    "-t nat -A OUTPUT ! -o lo -p udp --dport 53 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15053",
    "-t nat -A OUTPUT ! -d LOOPBACK -p tcp --dport 53 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15053",
    "-t nat -A OUTPUT -p tcp -m mark --mark 0x111/0xfff -j ACCEPT",
    "-t nat -A OUTPUT ! -d LOOPBACK -o lo -j ACCEPT",
    "-t nat -A OUTPUT ! -d LOOPBACK -p tcp -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001",
    "-t raw -A OUTPUT -p udp --dport 53 -m mark --mark 0x539/0xfff -j CT --zone 1",
    "-t raw -A PREROUTING -p udp --sport 53 -m mark ! --mark 0x539/0xfff -j CT --zone 1",
];

/// The output chain gives its priority as a number since nft before 1.0.7 knows `dstnat` in prerouting only.
const NFTABLES: &str = "
table inet adit-mangle {
  chain prerouting {
    type filter hook prerouting priority mangle; policy accept;
    meta mark & 0xfff == 0x539 ct mark set ct mark & 0xfffff000 | 0x111
  }
  chain output {
    type route hook output priority mangle; policy accept;
    ct mark & 0xfff == 0x111 meta mark set ct mark
  }
}
table inet adit-nat {
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    ip daddr 127.0.0.1 return
    ip6 daddr ::1 return
    meta l4proto tcp tcp dport != 15008 meta mark & 0xfff != 0x539 redirect to :15006
  }
  chain output {
    type nat hook output priority -100; policy accept;
    oifname != lo udp dport 53 meta mark & 0xfff != 0x539 redirect to :15053
    ip daddr != 127.0.0.1 tcp dport 53 meta mark & 0xfff != 0x539 redirect to :15053
    ip6 daddr != ::1 tcp dport 53 meta mark & 0xfff != 0x539 redirect to :15053
    meta l4proto tcp meta mark & 0xfff == 0x111 accept
    ip daddr 127.0.0.1 return
    ip6 daddr ::1 return
    oifname lo accept
    meta l4proto tcp meta mark & 0xfff != 0x539 redirect to :15001
  }
}
table inet adit-raw {
  chain prerouting {
    type filter hook prerouting priority raw; policy accept;
    udp sport 53 meta mark & 0xfff != 0x539 ct zone set 1
  }
  chain output {
    type filter hook output priority raw; policy accept;
    udp dport 53 meta mark & 0xfff == 0x539 ct zone set 1
  }
}
";

/// Captures all TCP of a namespace: what leaves it goes to 15001, what comes in to 15006, except marked packets and
/// port 15008; and DNS, TCP and UDP, which goes to 15053. Goes away with the namespace.
///
/// # Errors
/// The tool is missing or the kernel lacks what a rule needs.
pub fn redirect(namespace: &Namespace, backend: Backend) -> Result<()> {
    for line in ROUTES {
        namespace.ip(line)?;
    }
    match backend {
        Backend::Iptables => {
            for (tool, loopback) in [("iptables", "127.0.0.1/32"), ("ip6tables", "::1/128")] {
                for rule in IPTABLES {
                    // `-w`: wait for the lock, which other namespaces share.
                    namespace.run(&format!("{tool} -w {}", rule.replace("LOOPBACK", loopback)))?;
                }
            }
        }
        Backend::Nftables => {
            let scratch = Scratch::new()?;
            let path = scratch.write("rules.nft", NFTABLES)?;
            namespace.run(&format!("nft -f {}", path.display()))?;
        }
    }
    Ok(())
}
