//! `resolv.conf`: name servers, search domains and how long to wait (resolv.conf(5)).

use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use adit_core::dns::ForwarderConfig;

/// Port of name servers.
const PORT: u16 = 53;
/// Most servers that are asked, as in glibc.
const MOST_SERVERS: usize = 3;
/// Most seconds and rounds that options may ask for, as in glibc.
const MOST_TIMEOUT: u64 = 30;
const MOST_ATTEMPTS: u64 = 5;

/// Why a `resolv.conf` cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolvConfError {
    /// It cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// A `nameserver` line without an address.
    #[error(
        "resolv.conf line {line}: `{value}` is no address of a name server; write one such as `nameserver 10.96.0.10`"
    )]
    NameServer {
        /// Counted from 1.
        line: usize,
        /// What stands there.
        value: String,
    },
    /// A link-local address with a zone that is no interface here.
    #[error(
        "resolv.conf line {line}: `{zone}` is no network interface; write its name or number behind the %"
    )]
    Zone {
        /// Counted from 1.
        line: usize,
        /// What stands there.
        zone: String,
    },
    /// An option with a number that is none.
    #[error("resolv.conf line {line}: option `{option}` needs a number, such as `timeout:5`")]
    Option {
        /// Counted from 1.
        line: usize,
        /// The option.
        option: String,
    },
    /// No name server at all.
    #[error(
        "resolv.conf names no server to relay DNS questions to; add a line such as `nameserver 10.96.0.10`"
    )]
    NoServers,
}

/// What we use of a `resolv.conf`. Other lines and options have no meaning for somebody who relays, and are passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvConf {
    /// The first three `nameserver` lines.
    pub servers: Vec<SocketAddr>,
    /// The last `search` or `domain` line, in lower case.
    pub search: Vec<Arc<str>>,
    /// How long one server is waited for (`timeout`, 5 s; at most 30 s).
    pub timeout: Duration,
    /// How often the list of servers is gone through (`attempts`, 2; at most 5).
    pub attempts: u32,
    /// Begin each question with another server (`rotate`).
    pub rotate: bool,
}

impl ResolvConf {
    /// Reads a file, usually `/etc/resolv.conf`.
    ///
    /// # Errors
    /// A file that cannot be read, or not understood.
    pub fn load(path: &Path) -> Result<Self, ResolvConfError> {
        let text = fs::read(path).map_err(|error| ResolvConfError::Read { path: path.to_owned(), error })?;
        Self::parse(&String::from_utf8_lossy(&text), |interface| {
            let index = fs::read_to_string(format!("/sys/class/net/{interface}/ifindex")).ok()?;
            index.trim().parse().ok()
        })
    }

    /// Reads the text of a file; `zone` gives the number of a network interface.
    ///
    /// # Errors
    /// A line that is not understood, or no name server.
    pub fn parse(text: &str, zone: impl Fn(&str) -> Option<u32>) -> Result<Self, ResolvConfError> {
        let mut conf = Self {
            servers: Vec::new(),
            search: Vec::new(),
            timeout: Duration::from_secs(5),
            attempts: 2,
            rotate: false,
        };
        for (line, content) in (1..).zip(text.lines()) {
            // A comment takes a whole line, or the rest of one.
            let content = content.split([';', '#']).next().unwrap_or_default();
            let mut words = content.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let server = server(words.next().unwrap_or_default(), line, &zone)?;
                    if conf.servers.len() < MOST_SERVERS {
                        conf.servers.push(server);
                    }
                }
                Some("search" | "domain") => conf.search = words.filter_map(domain).collect(),
                Some("options") => words.try_for_each(|option| conf.option(option, line))?,
                _ => {}
            }
        }
        if conf.servers.is_empty() { Err(ResolvConfError::NoServers) } else { Ok(conf) }
    }

    fn option(&mut self, option: &str, line: usize) -> Result<(), ResolvConfError> {
        let number = |text: &str, most: u64| {
            let number: Result<u64, _> = text.parse();
            let number = number.map_err(|_| ResolvConfError::Option { line, option: option.to_owned() })?;
            Ok(number.clamp(1, most))
        };
        if let Some(value) = option.strip_prefix("timeout:") {
            self.timeout = Duration::from_secs(number(value, MOST_TIMEOUT)?);
        } else if let Some(value) = option.strip_prefix("attempts:") {
            self.attempts = u32::try_from(number(value, MOST_ATTEMPTS)?).unwrap_or(1);
        } else if option == "rotate" {
            self.rotate = true;
        }
        Ok(())
    }

    /// How to relay to these servers, with default limits.
    #[must_use]
    pub fn forwarder(&self) -> ForwarderConfig {
        ForwarderConfig {
            timeout: self.timeout,
            rounds: self.attempts,
            rotate: self.rotate,
            ..ForwarderConfig::new(self.servers.clone())
        }
    }
}

fn domain(word: &str) -> Option<Arc<str>> {
    let domain = word.trim_end_matches('.');
    (!domain.is_empty()).then(|| domain.to_ascii_lowercase().into())
}

fn server(
    value: &str,
    line: usize,
    zone: impl Fn(&str) -> Option<u32>,
) -> Result<SocketAddr, ResolvConfError> {
    let unreadable = || ResolvConfError::NameServer { line, value: value.to_owned() };
    let Some((address, interface)) = value.split_once('%') else {
        let address: IpAddr = value.parse().map_err(|_| unreadable())?;
        return Ok(SocketAddr::new(address, PORT));
    };
    let address: Ipv6Addr = address.parse().map_err(|_| unreadable())?;
    let number = interface.parse().ok().or_else(|| zone(interface));
    let number = number.ok_or_else(|| ResolvConfError::Zone { line, zone: interface.to_owned() })?;
    Ok(SocketAddrV6::new(address, PORT, 0, number).into())
}

#[cfg(test)]
mod tests;
