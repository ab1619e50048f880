//! Why an answer is what it is: Envoy's response code details, which people search logs for (waypoint.md §20.7).
use std::fmt;
use std::sync::Arc;

/// How an upstream's stream or connection ended too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResetReason {
    /// It could not be connected to.
    ConnectionFailure,
    /// The remote end refused or broke off the connection while it was made.
    RemoteConnectionFailure,
    /// The connection ended.
    ConnectionTermination,
    /// We reset the stream.
    LocalReset,
    /// It reset the stream.
    RemoteReset,
    /// A limit was reached.
    Overflow,
    /// It broke the protocol.
    ProtocolError,
    /// It refused CONNECT.
    ConnectError,
}

impl ResetReason {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConnectionFailure => "connection_failure",
            Self::RemoteConnectionFailure => "remote_connection_failure",
            Self::ConnectionTermination => "connection_termination",
            Self::LocalReset => "local_reset",
            Self::RemoteReset => "remote_reset",
            Self::Overflow => "overflow",
            Self::ProtocolError => "protocol_error",
            Self::ConnectError => "connect_error",
        }
    }
}

macro_rules! details {
    (plain { $($(#[$doc:meta])* $name:ident = $word:literal,)+ }
     with { $($(#[$with_doc:meta])* $with:ident = $start:literal, $end:literal,)+ }) => {
        /// Why an answer is what it is. Its text has neither blanks nor line breaks.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum Details {
            $($(#[$doc])* $name,)+
            $($(#[$with_doc])* $with(
                /// What stands between the brackets; octets that could be mistaken for anything else become `_`.
                Arc<str>,
            ),)+
            /// The upstream's stream ended before its answer began.
            UpstreamResetBefore(
                /// How.
                ResetReason,
                /// What the transport said; empty for nothing.
                Arc<str>,
            ),
            /// The upstream's stream ended in the middle of its answer.
            UpstreamResetAfter(
                /// How.
                ResetReason,
                /// What the transport said; empty for nothing.
                Arc<str>,
            ),
        }

        impl fmt::Display for Details {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$name => f.write_str($word),)+
                    $(Self::$with(what) => write!(f, "{}{}{}", $start, Word(what), $end),)+
                    Self::UpstreamResetBefore(reason, transport) => {
                        reset(f, "upstream_reset_before_response_started", *reason, transport)
                    }
                    Self::UpstreamResetAfter(reason, transport) => {
                        reset(f, "upstream_reset_after_response_started", *reason, transport)
                    }
                }
            }
        }

        #[cfg(test)]
        impl Details {
            /// One of each that stands alone.
            const PLAIN: &[Self] = &[$(Self::$name),+];
            /// How the others begin.
            const BEGINNINGS: &[&str] = &[$($start),+];
        }
    };
}

details! {
    plain {
        /// The upstream answered.
        ViaUpstream = "via_upstream",
        /// The rule says what to answer.
        DirectResponse = "direct_response",
        /// No rule is for the request.
        RouteNotFound = "route_not_found",
        /// The backend is not known.
        ClusterNotFound = "cluster_not_found",
        /// The backend has no endpoint that could be asked.
        NoHealthyUpstream = "no_healthy_upstream",
        /// An attempt took too long.
        UpstreamPerTryTimeout = "upstream_per_try_timeout",
        /// The upstream took too long.
        UpstreamResponseTimeout = "upstream_response_timeout",
        /// The route's timeout.
        ResponseTimeout = "response_timeout",
        /// The client's request took too long to come.
        RequestOverallTimeout = "request_overall_timeout",
        /// Nothing moved for too long.
        StreamIdleTimeout = "stream_idle_timeout",
        /// It lasted too long.
        MaxDurationTimeout = "max_duration_timeout",
        /// The client went away.
        DownstreamRemoteDisconnect = "downstream_remote_disconnect",
        /// The peer reset the stream.
        RemoteReset = "remote_reset",
        /// We reset the stream.
        LocalReset = "local_reset",
        /// The external authorizer said no.
        ExtAuthzDenied = "ext_authz_denied",
        /// The external authorizer failed.
        ExtAuthzError = "ext_authz_error",
        /// The rate limit service said no.
        RequestRateLimited = "request_rate_limited",
        /// The rate limit service failed.
        RateLimiterError = "rate_limiter_error",
        /// A limit of ours was reached.
        LocalRateLimited = "local_rate_limited",
        /// A refusal was put in on purpose.
        FaultFilterAbort = "fault_filter_abort",
        /// A preflight of CORS was answered.
        CorsResponse = "cors_response",
        /// There is no `Host`.
        MissingHostHeader = "missing_host_header",
        /// The path makes no sense.
        PathNormalizationFailed = "path_normalization_failed",
        /// The request's body is too large.
        RequestPayloadTooLarge = "request_payload_too_large",
        /// The answer's body is too large.
        ResponsePayloadTooLarge = "response_payload_too_large",
        /// The request's headers are too large.
        RequestHeadersTooLarge = "request_headers_too_large",
        /// It is no HTTP/1.
        Http1CodecError = "http1.codec_error",
        /// The upgrade was refused.
        UpgradeFailed = "upgrade_failed",
        /// To save the process from overload.
        Overload = "overload",
        /// By the operator's wish.
        MaintenanceMode = "maintenance_mode",
        /// Nothing listens there.
        FilterChainNotFound = "filter_chain_not_found",
    }
    with {
        /// We ended the client's connection.
        DownstreamLocalDisconnect = "downstream_local_disconnect(", ")",
        /// A policy denied it; `none` when it is that no policy allowed it.
        RbacDenied = "rbac_access_denied_matched_policy[", "]",
        /// Its token was refused.
        JwtDenied = "jwt_authn_access_denied{", "}",
        /// It is no HTTP/2.
        Http2 = "http2.", "",
    }
}

fn reset(f: &mut fmt::Formatter<'_>, when: &str, reason: ResetReason, transport: &str) -> fmt::Result {
    write!(f, "{when}{{{}", reason.as_str())?;
    if !transport.is_empty() {
        write!(f, ",{}", Word(transport))?;
    }
    f.write_str("}")
}

/// A text in one word.
struct Word<'a>(&'a str);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        // Names of policies have brackets of their own, as with Istio: `ns[shop]-policy[p]-rule[0]`.
        let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '{' | '}' | '"' | '\\');
        self.0.chars().try_for_each(|c| f.write_char(if plain(c) { c } else { '_' }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// waypoint.md §20.7, without what stands between brackets.
    const DOCUMENTED: &str = "via_upstream direct_response route_not_found cluster_not_found no_healthy_upstream \
        upstream_per_try_timeout upstream_response_timeout response_timeout request_overall_timeout \
        stream_idle_timeout max_duration_timeout downstream_remote_disconnect remote_reset local_reset \
        ext_authz_denied ext_authz_error request_rate_limited rate_limiter_error local_rate_limited \
        fault_filter_abort cors_response missing_host_header path_normalization_failed \
        request_payload_too_large response_payload_too_large request_headers_too_large http1.codec_error \
        upgrade_failed overload maintenance_mode filter_chain_not_found";

    #[test]
    fn the_words_are_the_documented_ones() {
        let words: BTreeSet<_> = Details::PLAIN.iter().map(ToString::to_string).collect();
        assert_eq!(words, DOCUMENTED.split_whitespace().map(str::to_owned).collect());
        assert_eq!(
            Details::BEGINNINGS,
            [
                "downstream_local_disconnect(",
                "rbac_access_denied_matched_policy[",
                "jwt_authn_access_denied{",
                "http2."
            ]
        );
        let text = |details: Details| details.to_string();
        assert_eq!(
            text(Details::RbacDenied("ns[shop]-policy[p]-rule[0]".into())),
            "rbac_access_denied_matched_policy[ns[shop]-policy[p]-rule[0]]"
        );
        assert_eq!(
            text(Details::UpstreamResetBefore(ResetReason::Overflow, "".into())),
            "upstream_reset_before_response_started{overflow}"
        );
        assert_eq!(
            text(Details::UpstreamResetAfter(
                ResetReason::ConnectionTermination,
                "TLS error: bad\n\"x\"".into()
            )),
            "upstream_reset_after_response_started{connection_termination,TLS_error:_bad__x_}"
        );
    }
}
