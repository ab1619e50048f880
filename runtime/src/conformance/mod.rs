//! Test bodies that every adapter runs, so that runtimes differ in speed only.
//!
//! An adapter implements [`Host`] in its tests and calls [`conformance_suite!`](crate::conformance_suite), which makes
//! one `#[test]` of each body. The shard is a scripted one ([`relay::Relay`]): it relays every accepted connection to one
//! target. Peers are blocking sockets of the standard library.
mod embedded;
mod relay;
mod rig;
mod sockets;

pub use embedded::*;
pub use relay::Relay;
pub use rig::Host;
pub use sockets::*;

/// Makes a `#[test]` of every body, run on the given [`Host`](crate::conformance::Host).
#[macro_export]
macro_rules! conformance_suite {
    ($host:expr) => {
        $crate::conformance_suite! { $host;
            octets_arrive_unchanged_both_ways
            half_close_is_passed_on_exactly
            a_reset_is_passed_on
            a_refused_dial_resets_the_client
            a_slow_reader_stops_the_writer_and_loses_nothing
            a_busy_connection_does_not_starve_another
            deadlines_pass
            drain_stops_listening_and_lets_connections_end
            what_waits_when_a_drain_begins_is_served
            terminate_ends_everything
            commands_sent_before_the_start_are_taken
            a_proxy_comes_and_goes
            a_stream_connects_out
            a_stream_is_accepted
            streams_carry_half_close_and_reset
            a_refused_stream_is_reset
        }
    };
    ($host:expr; $($body:ident)*) => {
        $(
            #[test]
            fn $body() {
                $crate::conformance::$body(&$host);
            }
        )*
    };
}
