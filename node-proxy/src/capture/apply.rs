//! From what is there to what should be, or to nothing: the plan, and carrying it out.
use std::collections::BTreeMap;
use std::fmt;

use super::backend::{Backend, Tool};
use super::error::CaptureError;
use super::model::Family;
use super::routes::{self, Routes};
use super::rules::{Rules, rules};
use super::state::{State, View};
use super::tools::Step;
use super::{Done, Request, Verdict, iptables, nftables};

/// How long iptables waits for its lock, in seconds.
const LOCK: &str = "5";

/// The commands that change a namespace, in order. Shown as a shell takes them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    backend: Option<Backend>,
    steps: Vec<Step>,
}

impl Plan {
    /// To what `request` says; nothing if it is so already.
    ///
    /// # Errors
    /// What is there may not be touched, or nobody can write.
    pub fn to_apply(state: &State, request: &Request) -> Result<Self, CaptureError> {
        let writer = state.writer(request.backend).ok_or(CaptureError::NoBackend)?;
        refuse(state)?;
        let backend = Some(writer.tool.backend());
        if state.verdict(request).problems.is_empty() {
            return Ok(Self { backend, steps: Vec::new() });
        }
        let families = state.families(request.ipv4_only);
        let wanted: BTreeMap<Family, Rules> =
            families.iter().map(|family| (*family, rules(&request.options, *family))).collect();
        // Redirection begins when everything that it needs is there, and what another tool wrote goes last.
        let mut steps: Vec<Step> = Family::ALL
            .into_iter()
            .flat_map(|family| {
                let seen = state.routes.get(&family).copied().unwrap_or_default();
                let wanted = families.contains(&family).then(|| state.wanted_routes(family));
                routes::steps(family, seen, wanted.unwrap_or_default())
            })
            .collect();
        steps.extend(written(writer, &wanted));
        let others = state.views.iter().filter(|view| view.tool != writer.tool && view.present);
        steps.extend(others.flat_map(|view| written(view, &BTreeMap::new())));
        Ok(Self { backend, steps })
    }

    /// To nothing.
    ///
    /// # Errors
    /// What is there may not be touched.
    pub fn to_remove(state: &State) -> Result<Self, CaptureError> {
        refuse(state)?;
        let present = || state.views.iter().filter(|view| view.present);
        let mut steps: Vec<Step> = present().flat_map(|view| written(view, &BTreeMap::new())).collect();
        let routes = state.routes.iter();
        steps.extend(routes.flat_map(|(family, seen)| routes::steps(*family, *seen, Routes::default())));
        Ok(Self { backend: present().next().map(|view| view.tool.backend()), steps })
    }

    /// Carries it out from `state`, and looks at what has come of it.
    pub(super) fn run(
        &self,
        state: &State,
        look: impl FnOnce() -> Result<Verdict, CaptureError>,
    ) -> Result<Done, CaptureError> {
        if let Err(error) = self.steps.iter().try_for_each(|step| step.run().map(drop)) {
            let was_empty = state.views.iter().all(|view| !view.present)
                && state.routes.values().all(|routes| *routes == Routes::default());
            if was_empty {
                // The first failure is the one to tell.
                let _ = undo();
            }
            return Err(error);
        }
        let changed = !self.steps.is_empty();
        if changed {
            let problems: Vec<String> = look()?.problems.iter().map(ToString::to_string).collect();
            if !problems.is_empty() {
                return Err(CaptureError::NotApplied { problems });
            }
        }
        Ok(Done { backend: self.backend, changed })
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

fn undo() -> Result<(), CaptureError> {
    let plan = Plan::to_remove(&State::read(super::Choice::Auto)?)?;
    plan.steps.iter().try_for_each(|step| step.run().map(drop))
}

fn refuse(state: &State) -> Result<(), CaptureError> {
    state.views.iter().find_map(|view| view.refusal.clone()).map_or(Ok(()), Err)
}

/// The steps by which the tool of `view` makes what it sees into `rules`.
fn written(view: &View, rules: &BTreeMap<Family, Rules>) -> Vec<Step> {
    match view.tool {
        Tool::Nft => vec![Step::words("nft", &["-f", "-"]).reading(nftables::script(rules))],
        Tool::Iptables(kind) => {
            let (no_rules, no_chains) = (Rules::new(), BTreeMap::new());
            let scripts = Family::ALL.into_iter().map(|family| {
                let seen = view.observed.0.get(&family).unwrap_or(&no_chains);
                (family, iptables::restore(rules.get(&family).unwrap_or(&no_rules), seen))
            });
            let scripts = scripts.filter(|(_, script)| !script.is_empty());
            let restore = |(family, script): (Family, String)| {
                let program = Tool::program(kind, family, "restore");
                Step::words(program, &["-w", LOCK, "--noflush"]).reading(script)
            };
            scripts.map(restore).collect()
        }
    }
}
