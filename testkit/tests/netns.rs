//! Real clients, servers and proxies in network namespaces, joined by real redirection rules.
//!
//! Every subject is tested on both runtimes, with iptables and with nftables, over IPv4 and IPv6: first with tables from a file,
//! then (`cluster` and what uses it) with everything from a scripted control plane. Needs root, `ip`, `iptables`, `nft`, and
//! `cargo build -p adit-node -p adit-waypoint` before (of the same profile).

#[path = "netns/balancing.rs"]
mod balancing;
#[path = "netns/calls.rs"]
mod calls;
#[path = "netns/capture.rs"]
mod capture;
#[path = "netns/chaos/mod.rs"]
mod chaos;
#[path = "netns/closing.rs"]
mod closing;
#[path = "netns/cluster.rs"]
mod cluster;
#[path = "netns/crowd.rs"]
mod crowd;
#[path = "netns/inpod.rs"]
mod inpod;
#[path = "netns/names.rs"]
mod names;
#[path = "netns/networks.rs"]
mod networks;
#[path = "netns/nodes.rs"]
mod nodes;
#[path = "netns/paths.rs"]
mod paths;
#[path = "netns/pushes.rs"]
mod pushes;
#[path = "netns/refusals.rs"]
mod refusals;
#[path = "netns/relay.rs"]
mod relay;
#[path = "netns/resources.rs"]
mod resources;
#[path = "netns/restart.rs"]
mod restart;
#[path = "netns/site.rs"]
mod site;
#[path = "netns/traffic.rs"]
mod traffic;
#[path = "netns/upgrade.rs"]
mod upgrade;
#[path = "netns/waypoint/mod.rs"]
mod waypoint;
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
            fn a_check_of_capture_finds_it_working_and_is_not_heard() -> Result<()> {
                crate::capture::check($runtime, $backend)
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

            #[test]
            fn names_are_answered_and_relayed() -> Result<()> {
                crate::names::redirected($runtime, $backend)
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

/// Subjects of the control plane, for which the backend of the rules makes no difference.
macro_rules! clusters {
    ($($name:ident: $runtime:ident, $backend:ident;)*) => { $(
        mod $name {
            use adit_testkit::netns::{Backend::$backend, Result, Runtime::$runtime};

            #[test]
            fn endpoints_share_by_weight_and_health() -> Result<()> {
                crate::balancing::endpoints($runtime, $backend)
            }

            #[test]
            fn a_waypoint_is_never_passed_by() -> Result<()> {
                crate::waypoint::hop($runtime, $backend)
            }

            #[test]
            fn every_conformance_case_holds_behind_a_waypoint() -> Result<()> {
                crate::waypoint::conformance($runtime, $backend)
            }

            #[test]
            fn a_waypoint_knows_who_calls_whatever_they_say() -> Result<()> {
                crate::waypoint::who_is_who($runtime, $backend)
            }

            #[test]
            fn a_waypoint_stands_for_services_for_pods_or_for_both() -> Result<()> {
                crate::waypoint::workload($runtime, $backend)
            }

            #[test]
            fn what_is_not_http_goes_through_a_waypoint_too() -> Result<()> {
                crate::waypoint::not_http($runtime, $backend)
            }

            #[test]
            fn a_waypoint_that_is_killed_is_missed_and_found_again() -> Result<()> {
                crate::waypoint::killed($runtime, $backend)
            }

            #[test]
            fn waypoints_take_turns_and_no_request_fails() -> Result<()> {
                crate::waypoint::replicas($runtime, $backend)
            }

            #[test]
            fn changes_around_a_waypoint_cost_no_request() -> Result<()> {
                crate::waypoint::changes($runtime, $backend)
            }

            #[test]
            fn another_network_is_reached_through_its_gateway() -> Result<()> {
                crate::networks::nested($runtime, $backend)
            }

            #[test]
            fn strict_refuses_plaintext() -> Result<()> {
                crate::pushes::strict_refuses_plaintext($runtime, $backend)
            }

            #[test]
            fn a_policy_that_changes_cuts_connections() -> Result<()> {
                crate::pushes::changes_cut($runtime, $backend)
            }

            #[test]
            fn a_restart_of_the_control_plane_loses_nothing() -> Result<()> {
                crate::restart::loses_nothing($runtime, $backend)
            }

            #[test]
            fn two_pods_of_a_node_meet_as_who_they_are() -> Result<()> {
                crate::inpod::two_pods($runtime, $backend)
            }

            #[test]
            fn a_pod_that_goes_leaves_nothing() -> Result<()> {
                crate::inpod::a_pod_goes($runtime, $backend)
            }

            #[test]
            fn the_proxys_own_pod_is_reached_as_others_are() -> Result<()> {
                crate::inpod::the_proxys_own_pod($runtime, $backend)
            }

            #[test]
            fn two_hundred_pods_are_no_burden() -> Result<()> {
                crate::crowd::two_hundred($runtime, $backend)
            }

            #[test]
            fn a_drain_ends_all_pods_in_order() -> Result<()> {
                crate::inpod::drain($runtime, $backend)
            }

            #[test]
            fn the_nodes_proxy_is_replaced_and_no_pod_notices() -> Result<()> {
                crate::upgrade::under_load($runtime, $backend)
            }

            #[test]
            fn pods_of_several_machines_meet_as_who_they_are() -> Result<()> {
                crate::nodes::all_meet($runtime, $backend)
            }

            #[test]
            fn calls_of_pods_to_every_port_of_a_proxy_end_as_they_should() -> Result<()> {
                crate::calls::every_port($runtime, $backend)
            }

            #[test]
            fn a_pod_may_come_before_the_control_plane_knows_it() -> Result<()> {
                crate::inpod::a_pod_comes_first($runtime, $backend)
            }
        }
    )* };
}

/// Disturbances under steady traffic.
macro_rules! disturbances {
    ($($name:ident: $runtime:ident, $backend:ident;)*) => { $(
        mod $name {
            use adit_testkit::netns::{Backend::$backend, Result, Runtime::$runtime};

            #[test]
            fn a_proxy_that_is_killed_takes_nobody_elses_connections_with_it() -> Result<()> {
                crate::chaos::killed($runtime, $backend)
            }

            #[test]
            fn without_descriptors_who_comes_waits_and_who_is_there_goes_on() -> Result<()> {
                crate::chaos::descriptors_run_out($runtime, $backend)
            }

            #[test]
            fn traffic_goes_on_without_a_control_plane() -> Result<()> {
                crate::chaos::control_plane_gone($runtime, $backend)
            }

            #[test]
            fn traffic_goes_on_without_an_agent() -> Result<()> {
                crate::chaos::agent_gone($runtime, $backend)
            }

            #[test]
            fn one_stalled_stream_delays_none_of_its_neighbours() -> Result<()> {
                crate::chaos::one_stalled_stream($runtime, $backend)
            }

            #[test]
            fn what_packets_are_lost_arrives_all_the_same() -> Result<()> {
                crate::chaos::loss($runtime, $backend)
            }

            #[test]
            fn a_narrow_link_is_waited_for() -> Result<()> {
                crate::chaos::narrow($runtime, $backend)
            }

            #[test]
            fn a_long_way_is_waited_for_until_it_breaks() -> Result<()> {
                crate::chaos::delay($runtime, $backend)
            }
        }
    )* };
}

disturbances! {
    tokio_chaos: Tokio, Nftables;
    smol_chaos: Smol, Iptables;
}

/// Peers find out after half a minute: on one runtime only.
#[test]
fn a_namespace_that_is_deleted_is_let_go() -> adit_testkit::netns::Result<()> {
    use adit_testkit::netns::{Backend, Runtime};
    chaos::namespace_gone(Runtime::Tokio, Backend::Nftables)
}

clusters! {
    tokio_cluster: Tokio, Iptables;
    smol_cluster: Smol, Nftables;
}
