//! The rules as nftables has them: tables `istio-ambient-…` of family inet, which hold both families and nothing of others.
mod parse;
mod render;

pub(super) use self::parse::{Listed, parse};
pub(super) use self::render::script;

use super::model::{Chain, Hook, Table};

/// All our tables begin so, then comes the name of the table.
const PREFIX: &str = "istio-ambient-";

/// The chain that packets meet.
const fn base(hook: Hook) -> &'static str {
    match hook {
        Hook::Prerouting => "prerouting",
        Hook::Output => "output",
    }
}

/// The chain that it sends them to.
const fn own(hook: Hook) -> &'static str {
    match hook {
        Hook::Prerouting => "istio-prerouting",
        Hook::Output => "istio-output",
    }
}

/// What makes the base chain one: kind, hook and place among others. Numbers, since names depend on the version of nft.
const fn header(chain: Chain) -> &'static str {
    match (chain.table, chain.hook) {
        (Table::Raw, Hook::Prerouting) => "type filter hook prerouting priority -300",
        (Table::Raw, Hook::Output) => "type filter hook output priority -300",
        (Table::Mangle, Hook::Prerouting) => "type filter hook prerouting priority -150",
        (Table::Mangle, Hook::Output) => "type route hook output priority -150",
        (Table::Nat, Hook::Prerouting) => "type nat hook prerouting priority -100",
        (Table::Nat, Hook::Output) => "type nat hook output priority -100",
    }
}

#[cfg(test)]
mod tests;
