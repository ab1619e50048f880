//! What all tools of this machine tell of the namespace of this thread.
use std::collections::BTreeMap;

use super::backend::{Backend, Choice, Tool, installed};
use super::error::CaptureError;
use super::model::{Chain, Family};
use super::namespace::Ipv6;
use super::observed::Observed;
use super::routes::{self, Routes};
use super::tools::Step;
use super::verify::{Problem, closest, verify, verify_routes, verify_uncaptured};
use super::{Options, Request, Verdict, iptables, nftables};

/// What one tool sees.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) tool: Tool,
    pub(super) observed: Observed,
    /// Whether there is something of ours, be it an empty table.
    pub(super) present: bool,
    /// Why nothing may be changed here.
    pub(super) refusal: Option<CaptureError>,
}

/// A namespace as it is.
#[derive(Clone, Debug)]
pub struct State {
    pub(super) ipv6: Ipv6,
    pub(super) views: Vec<View>,
    pub(super) routes: BTreeMap<Family, Routes>,
}

impl State {
    /// Asks all tools. One that does not work is passed over, unless it is the only one or `choice` names it.
    ///
    /// # Errors
    /// There are no tools, or they do not work.
    pub fn read(choice: Choice) -> Result<Self, CaptureError> {
        let ipv6 = Ipv6::here();
        let families = families(ipv6);
        let mut views = Vec::new();
        let mut failure = None;
        for tool in installed(choice)? {
            match view(tool, families) {
                Ok(view) => views.push(view),
                Err(error) => {
                    let named = match choice {
                        Choice::Auto => false,
                        Choice::Nftables => tool == Tool::Nft,
                        Choice::Iptables => tool == Tool::Iptables(""),
                    };
                    if named {
                        return Err(error);
                    }
                    failure.get_or_insert(error);
                }
            }
        }
        if let (true, Some(error)) = (views.is_empty(), failure) {
            return Err(error);
        }
        let routes = families.iter().map(|family| Ok((*family, read_routes(*family)?)));
        Ok(Self { ipv6, views, routes: routes.collect::<Result<_, _>>()? })
    }

    /// A namespace in which there is nothing, and the tools of this machine.
    ///
    /// # Errors
    /// There are no tools.
    pub fn empty(choice: Choice) -> Result<Self, CaptureError> {
        let view = |tool| View { tool, observed: Observed::default(), present: false, refusal: None };
        let views = installed(choice)?.into_iter().map(view).collect();
        Ok(Self { ipv6: Ipv6::here(), views, routes: BTreeMap::new() })
    }

    /// The families that rules are for.
    pub(super) fn families(&self, ipv4_only: bool) -> &'static [Family] {
        if ipv4_only { families(Ipv6::Absent) } else { families(self.ipv6) }
    }

    /// The routes that there should be for `family`.
    pub(super) fn wanted_routes(&self, family: Family) -> Routes {
        if family == Family::V6 && self.ipv6 == Ipv6::NotOnLoopback {
            Routes::default()
        } else {
            Routes::WHOLE
        }
    }

    /// Who has written, or shall write, the rules.
    pub(super) fn writer(&self, choice: Choice) -> Option<&View> {
        let allowed = |view: &&View| match choice {
            Choice::Auto => true,
            Choice::Nftables => view.tool.backend() == Backend::Nftables,
            Choice::Iptables => view.tool.backend() == Backend::Iptables,
        };
        let mut candidates = self.views.iter().filter(allowed);
        candidates.clone().find(|view| !view.observed.is_empty()).or_else(|| candidates.next())
    }

    /// The differences from what `request` says.
    #[must_use]
    pub fn verdict(&self, request: &Request) -> Verdict {
        let families = self.families(request.ipv4_only);
        let nothing = Observed::default();
        let writer = self.writer(request.backend);
        let observed = writer.map_or(&nothing, |view| &view.observed);
        let mut problems = verify(&request.options, families, observed);
        let unwanted = Family::ALL.into_iter().filter(|family| !families.contains(family));
        problems.extend(unwanted.flat_map(|family| verify_uncaptured(family, observed)));
        for family in families {
            let seen = self.routes.get(family).copied().unwrap_or_default();
            problems.extend(verify_routes(*family, self.wanted_routes(*family), seen));
        }
        let others = self.views.iter().filter(|view| writer.is_none_or(|writer| writer.tool != view.tool));
        let others = others.filter(|view| !view.observed.is_empty());
        problems.extend(others.map(|view| Problem::Twice(view.tool.backend())));
        let backend = writer.filter(|view| !view.observed.is_empty()).map(|view| view.tool.backend());
        Verdict { backend, problems }
    }

    /// What is there of ours, as differences from nothing.
    pub(super) fn leftovers(&self) -> Verdict {
        let mut problems = Vec::new();
        for view in self.views.iter().filter(|view| view.present) {
            for family in Family::ALL {
                let chains = Chain::all().filter(|chain| view.observed.chain(family, *chain).is_some());
                problems.extend(chains.map(|chain| Problem::UnexpectedChain(family, chain)));
            }
        }
        Verdict { backend: None, problems }
    }

    /// What whoever wrote the rules must have meant.
    #[must_use]
    pub fn closest_options(&self) -> Options {
        self.writer(Choice::Auto).filter(|view| !view.observed.is_empty()).map_or_else(
            || Options { dns: true, ..Options::default() },
            |view| closest(self.families(false), &view.observed),
        )
    }
}

const fn families(ipv6: Ipv6) -> &'static [Family] {
    match ipv6 {
        Ipv6::Absent => &[Family::V4],
        Ipv6::NotOnLoopback | Ipv6::Present => &Family::ALL,
    }
}

fn view(tool: Tool, families: &[Family]) -> Result<View, CaptureError> {
    match tool {
        Tool::Nft => {
            let text = Step::words("nft", &["-n", "-s", "list", "ruleset", "inet"]).run()?;
            let nftables::Listed { observed, tables, foreign } = nftables::parse(&text, families);
            let refusal = (!foreign.is_empty()).then_some(CaptureError::NotAPod { found: foreign });
            Ok(View { tool, observed, present: !tables.is_empty(), refusal })
        }
        Tool::Iptables(kind) => {
            let mut observed = Observed::default();
            let mut refusal = None;
            for family in families {
                let text = Step::words(Tool::program(kind, *family, "save"), &[]).run()?;
                let saved = iptables::parse(&text);
                if let Some(chain) = saved.sidecar {
                    refusal = Some(CaptureError::Sidecar { family: *family, chain });
                }
                if !saved.chains.is_empty() {
                    observed.0.insert(*family, saved.chains);
                }
            }
            Ok(View { tool, present: !observed.is_empty(), observed, refusal })
        }
    }
}

fn read_routes(family: Family) -> Result<Routes, CaptureError> {
    let [rules, routes] = routes::questions(family);
    let table = match routes.run() {
        Err(CaptureError::Command { output, .. }) if routes::is_no_table(&output) => String::new(),
        answer => answer?,
    };
    Ok(routes::parse(&rules.run()?, &table))
}
