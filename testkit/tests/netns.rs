//! Real clients, servers and proxies in network namespaces, joined by real redirection rules.
//!
//! Every subject is tested on both runtimes, with iptables and with nftables, over IPv4 and IPv6. Needs root, `ip`,
//! `iptables`, `nft`, and `cargo build -p adit-node` before (of the same profile).

#[path = "netns/closing.rs"]
mod closing;
#[path = "netns/paths.rs"]
mod paths;
#[path = "netns/refusals.rs"]
mod refusals;
#[path = "netns/world.rs"]
mod world;

/// Every subject under every pair of runtime and backend.
macro_rules! worlds {
    ($($name:ident: $runtime:ident, $backend:ident;)*) => { $(
        mod $name {
            use adit_testkit::netns::{Backend::$backend, Result, Runtime::$runtime};

            #[test]
            fn captured_to_captured_is_tunnelled() -> Result<()> {
                crate::paths::captured_to_captured($runtime, $backend)
            }

            #[test]
            fn only_one_end_captured_is_plain() -> Result<()> {
                crate::paths::one_end_captured($runtime, $backend)
            }

            #[test]
            fn service_addresses_lead_to_their_endpoints() -> Result<()> {
                crate::paths::services($runtime, $backend)
            }

            #[test]
            fn a_pod_reaches_itself() -> Result<()> {
                crate::paths::itself($runtime, $backend)
            }

            #[test]
            fn connections_end_as_their_applications_end_them() -> Result<()> {
                crate::closing::ends($runtime, $backend)
            }

            #[test]
            fn policies_refuse() -> Result<()> {
                crate::refusals::policies($runtime, $backend)
            }

            #[test]
            fn calls_to_the_proxies_own_ports_are_refused() -> Result<()> {
                crate::refusals::own_ports($runtime, $backend)
            }

            #[test]
            fn every_port_of_a_proxy_answers_strangers_as_it_should() -> Result<()> {
                crate::refusals::every_port($runtime, $backend)
            }
        }
    )* };
}

worlds! {
    tokio_iptables: Tokio, Iptables;
    tokio_nftables: Tokio, Nftables;
    smol_iptables: Smol, Iptables;
    smol_nftables: Smol, Nftables;
}
