//! Capture in network namespaces of the test's own, by nftables and by iptables, proved by real connections. Needs root,
//! `ip`, `nft` and `iptables`.

mod changes;
mod checks;
mod refusals;
mod traffic;
mod world;
