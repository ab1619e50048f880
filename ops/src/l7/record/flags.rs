//! What was out of the ordinary with a request: Envoy's response flags (waypoint.md §20.6).
use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// A set of response flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResponseFlags(u32);

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $place:literal, $word:literal;)+) => {
        impl ResponseFlags {
            $($(#[$doc])* pub const $name: Self = Self(1 << $place);)+

            /// All flags that there are, each with its short name, in the order in which they are written.
            pub const ALL: &'static [(Self, &'static str)] = &[$((Self::$name, $word)),+];
        }
    };
}

// In the order of Envoy's own bits, which is that of its logs.
flags! {
    /// The local health check failed.
    FAILED_LOCAL_HEALTH_CHECK = 0, "LH";
    /// No healthy upstream host.
    NO_HEALTHY_UPSTREAM = 1, "UH";
    /// The upstream did not answer in time.
    UPSTREAM_REQUEST_TIMEOUT = 2, "UT";
    /// We reset the connection.
    LOCAL_RESET = 3, "LR";
    /// The upstream reset the stream.
    UPSTREAM_REMOTE_RESET = 4, "UR";
    /// No connection to the upstream could be made.
    UPSTREAM_CONNECTION_FAILURE = 5, "UF";
    /// The upstream ended its connection.
    UPSTREAM_CONNECTION_TERMINATION = 6, "UC";
    /// A circuit breaker was open.
    UPSTREAM_OVERFLOW = 7, "UO";
    /// No route, or no filter chain.
    NO_ROUTE_FOUND = 8, "NR";
    /// A delay was put in on purpose.
    DELAY_INJECTED = 9, "DI";
    /// A refusal was put in on purpose.
    FAULT_INJECTED = 10, "FI";
    /// A rate limit was reached.
    RATE_LIMITED = 11, "RL";
    /// The external authorizer denied it.
    UNAUTHORIZED_EXTERNAL_SERVICE = 12, "UAEX";
    /// The rate limit service failed.
    RATE_LIMIT_SERVICE_ERROR = 13, "RLSE";
    /// The client ended its connection.
    DOWNSTREAM_CONNECTION_TERMINATION = 14, "DC";
    /// Retries, or attempts to connect, are used up.
    UPSTREAM_RETRY_LIMIT_EXCEEDED = 15, "URX";
    /// The stream was idle for too long.
    STREAM_IDLE_TIMEOUT = 16, "SI";
    /// A strictly checked header had an invalid value.
    INVALID_HEADER = 17, "IH";
    /// The client broke the protocol.
    DOWNSTREAM_PROTOCOL_ERROR = 18, "DPE";
    /// The stream lasted too long.
    UPSTREAM_MAX_STREAM_DURATION_REACHED = 19, "UMSDR";
    /// It was answered from a cache.
    FROM_CACHE = 20, "RFCF";
    /// A filter's configuration is missing.
    FILTER_CONFIG_NOT_FOUND = 21, "NFCF";
    /// The connection or request exceeded its duration.
    DURATION_TIMEOUT = 22, "DT";
    /// The upstream broke the protocol.
    UPSTREAM_PROTOCOL_ERROR = 23, "UPE";
    /// The backend is not known.
    NO_CLUSTER_FOUND = 24, "NC";
    /// Ended to save the process from overload.
    OVERLOAD_MANAGER = 25, "OM";
    /// A name could not be looked up.
    DNS_FAILURE = 26, "DF";
    /// Dropped, as the control plane asked for under overload.
    DROP_OVERLOAD = 27, "DO";
    /// The client reset the stream.
    DOWNSTREAM_REMOTE_RESET = 28, "DR";
    /// Dropped unconditionally.
    UNCONDITIONAL_DROP_OVERLOAD = 29, "UDO";
}

impl ResponseFlags {
    /// None: all was well.
    pub const NONE: Self = Self(0);

    /// Whether all of `flags` are set.
    #[must_use]
    pub const fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Whether none is set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// As a number, one bit each: `response.flags` in expressions.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The short names of those that are set.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().filter(move |(flag, _)| self.contains(*flag)).map(|(_, word)| *word)
    }
}

impl BitOr for ResponseFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for ResponseFlags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// `UF,URX`, or `-` for none.
impl fmt::Display for ResponseFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("-");
        }
        self.words().enumerate().try_for_each(|(place, word)| {
            if place > 0 {
                f.write_str(",")?;
            }
            f.write_str(word)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// waypoint.md §20.6, in its order.
    const DOCUMENTED: &str = "UH UF UO NR URX NC DT DC LH UT LR UR UC DI FI RL RLSE UAEX IH SI DPE UPE UMSDR RFCF \
                              NFCF OM DF DO UDO DR";

    #[test]
    fn every_documented_flag_is_there_and_no_other() {
        let words: BTreeSet<_> = ResponseFlags::ALL.iter().map(|(_, word)| *word).collect();
        assert_eq!(words, DOCUMENTED.split_whitespace().collect());
        let bits: BTreeSet<_> = ResponseFlags::ALL.iter().map(|(flag, _)| flag.bits()).collect();
        assert_eq!(bits.len(), ResponseFlags::ALL.len());
    }

    #[test]
    fn they_are_written_with_commas_and_none_as_a_dash() {
        assert_eq!(ResponseFlags::NONE.to_string(), "-");
        let mut flags = ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED;
        flags |= ResponseFlags::UPSTREAM_CONNECTION_FAILURE;
        assert_eq!(flags.to_string(), "UF,URX");
        assert!(flags.contains(ResponseFlags::UPSTREAM_CONNECTION_FAILURE));
        assert!(!flags.contains(flags | ResponseFlags::NO_ROUTE_FOUND));
    }
}
