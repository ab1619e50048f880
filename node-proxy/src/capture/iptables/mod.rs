//! The rules as iptables has them: chains `ISTIO_PRERT` and `ISTIO_OUTPUT`, once per table and family.
mod parse;
mod render;

pub(super) use self::parse::parse;
pub(super) use self::render::{restore, rule};

use super::model::Hook;

/// The built-in chain.
const fn base(hook: Hook) -> &'static str {
    match hook {
        Hook::Prerouting => "PREROUTING",
        Hook::Output => "OUTPUT",
    }
}

/// Our chain.
const fn own(hook: Hook) -> &'static str {
    match hook {
        Hook::Prerouting => "ISTIO_PRERT",
        Hook::Output => "ISTIO_OUTPUT",
    }
}

#[cfg(test)]
mod tests;
