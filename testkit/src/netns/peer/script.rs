//! What happens on a connection.
use std::fmt;
use std::str::FromStr;

/// The part both ends play, as the client's first line says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Script {
    /// The server answers with the address it sees the client under.
    WhoAmI,
    /// The server sends back what it gets, until the client finishes.
    Echo,
    /// Both send at the same time and check what they get; the server then says that all was well.
    Bulk {
        /// Octets from the client.
        up: u64,
        /// Octets from the server.
        down: u64,
        /// Of the client's pattern; the server's is the next.
        seed: u64,
    },
    /// The server finishes at once, and goes on reading.
    ServerFirst {
        /// Octets the client sends after the server has finished.
        up: u64,
    },
    /// The server resets the connection once the client has heard from it.
    ServerResets,
    /// The client resets the connection once it has heard from the server.
    ClientResets,
    /// The connection stays open, silent, until something ends it.
    Hold,
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WhoAmI => f.write_str("who-am-i"),
            Self::Echo => f.write_str("echo"),
            Self::Bulk { up, down, seed } => write!(f, "bulk {up} {down} {seed}"),
            Self::ServerFirst { up } => write!(f, "server-first {up}"),
            Self::ServerResets => f.write_str("server-resets"),
            Self::ClientResets => f.write_str("client-resets"),
            Self::Hold => f.write_str("hold"),
        }
    }
}

impl FromStr for Script {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let number = |word: &str| word.parse::<u64>().map_err(|_| format!("{word:?} is not a number"));
        Ok(match *words.as_slice() {
            ["who-am-i"] => Self::WhoAmI,
            ["echo"] => Self::Echo,
            ["bulk", up, down, seed] => {
                Self::Bulk { up: number(up)?, down: number(down)?, seed: number(seed)? }
            }
            ["server-first", up] => Self::ServerFirst { up: number(up)? },
            ["server-resets"] => Self::ServerResets,
            ["client-resets"] => Self::ClientResets,
            ["hold"] => Self::Hold,
            _ => return Err(format!("{text:?} is no script")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Script;

    #[test]
    fn scripts_are_read_as_they_are_written() {
        let all = [
            Script::WhoAmI,
            Script::Echo,
            Script::Bulk { up: 1, down: 2, seed: 3 },
            Script::ServerFirst { up: 4 },
            Script::ServerResets,
            Script::ClientResets,
            Script::Hold,
        ];
        for script in all {
            assert_eq!(script.to_string().parse(), Ok(script));
        }
        assert!("bulk 1 2".parse::<Script>().is_err());
    }
}
