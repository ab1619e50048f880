//! The answer: an explanation, and what one should know about it.
use std::fmt;
use std::net::IpAddr;

use adit_core::explain::{Arrival, Explanation, Outcome};
use adit_core::mesh::ApplicationProtocol::Proxy;
use adit_ops::admin::undump::{Gap, Undumped};
use serde::Serialize;

use super::parties::Asked;

/// The answer, as `--json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// Whether the connection gets through, as far as the tables tell.
    allowed: bool,
    /// What stands for chance.
    seed: u64,
    /// The name that was looked up, if one was given.
    asked: Option<Asked>,
    #[serde(flatten)]
    told: Explanation,
    notes: Vec<String>,
}

impl Report {
    pub(super) fn new(told: Explanation, seed: u64, asked: Option<Asked>, notes: Vec<String>) -> Self {
        Self { allowed: told.is_let_through(), seed, asked, told, notes }
    }

    pub(super) const fn is_let_through(&self) -> bool {
        self.allowed
    }
}

impl fmt::Display for Report {
    /// In the columns of [`Explanation`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Asked { name, service, addresses }) = &self.asked {
            write!(f, "{:<12}{name} is {service}:", "asked")?;
            addresses.iter().try_for_each(|address| write!(f, " {address}"))?;
            writeln!(f)?;
        }
        self.told.fmt(f)?;
        self.notes.iter().try_for_each(|note| writeln!(f, "{:<12}{note}", "note"))
    }
}

/// What the explanation takes for granted, or cannot know.
pub(super) fn notes(
    dump: &Undumped,
    client: IpAddr,
    asked: Option<&Asked>,
    told: &Explanation,
) -> Vec<String> {
    let mut notes = Vec::new();
    let path = match &told.outcome {
        Outcome::Sent(path) => Some(&**path),
        Outcome::Refused(_) => None,
    };
    let peer = path.and_then(|path| dump.mesh.workload(path.peer.as_ref()?));
    let here = dump.mesh.network();
    if let Some(source) = dump.mesh.workload(&told.source).filter(|source| &*source.network != here) {
        notes.push(format!(
            "the source is in network {:?}, the dump's proxy in {here:?}: addresses are looked up as there",
            source.network
        ));
    }
    if client.is_unspecified() {
        notes.push("the source has no address in the dump: policies are asked as for 0.0.0.0".to_owned());
    }
    notes.extend(path.filter(|path| path.authority.is_some()).and_then(|_| certificate(dump, told)));
    let proxy_header = path.is_some_and(|path| matches!(path.arrival, Arrival::Judged(_)))
        && peer.and_then(|peer| peer.application_tunnel).is_some_and(|tunnel| tunnel.protocol == Proxy);
    let matters = |gap: &&Gap| match gap {
        Gap::LocalhostAppTunnel => proxy_header,
        Gap::ClusterDomain => asked.is_some(),
        Gap::Ipv6 => asked.is_some() && told.target.is_ipv6(),
        _ => true,
    };
    notes.extend(dump.settings.gaps.iter().filter(matters).map(ToString::to_string));
    if dump.settings.on_demand {
        notes.push(
            "the proxy asks for addresses as it needs them: what nobody has asked for is not in the dump"
                .to_owned(),
        );
    }
    if !dump.problems.is_empty() {
        notes.push(format!(
            "not everything in the dump could be read (problems: {}): entries are missing, policies at their strictest",
            dump.problems.len()
        ));
    }
    notes
}

/// Without a certificate there is no tunnel.
fn certificate(dump: &Undumped, told: &Explanation) -> Option<String> {
    let identity = told.source_identity.to_string();
    let kept = dump.certificates.iter().find(|kept| kept.identity == identity)?;
    (kept.state != "Available")
        .then(|| format!("the proxy has no certificate for {identity} ({}): tunnels fail", kept.state))
}
