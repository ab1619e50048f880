//! The endpoints of a service as the mesh's tables have them, with where each stands.
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use super::label::Selector;
use super::locality::{LocalityRule, failover_level, priority_level, share_of};
use super::policy::TrafficPolicy;
use crate::mesh::{LoadBalancingMode, Mesh, Service, Workload};
use crate::route::{self, PortRule, Standing};

/// An endpoint that requests may go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Who it is.
    pub workload: Arc<Workload>,
    /// Its port.
    pub port: u16,
    /// How much of the requests it gets, beside others. Zero: none.
    pub weight: u32,
    /// Which of the [levels](Spread) it is of.
    pub level: u16,
}

/// How requests spread over levels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Spread {
    /// The lowest level that is healthy; a part goes to the next when much of one is ejected.
    #[default]
    Failover,
    /// By these shares, one for each level.
    Shares(Vec<u32>),
}

/// Why a workload behind a service gets nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WhyLeftOut {
    /// It is in another network, which takes a gateway.
    OtherNetwork,
    /// It has neither address nor name.
    NoAddress,
    /// It has no port for this one of the service.
    NoPort,
    /// The service's preferences are strict, and it is none of them.
    NotPreferred,
    /// No share is for the place where it is.
    NoShare,
}

impl fmt::Display for WhyLeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherNetwork => {
                "it is in another network, and waypoints do not go through east-west gateways"
            }
            Self::NoAddress => "it has neither address nor hostname",
            Self::NoPort => "it has no port for this port of the service",
            Self::NotPreferred => "the service's traffic distribution is strict, and it is elsewhere",
            Self::NoShare => "localityLbSetting.distribute gives its locality no share",
        })
    }
}

/// A workload behind a service that gets nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Its uid.
    pub uid: Arc<str>,
    /// Why.
    pub why: WhyLeftOut,
}

/// The endpoints of one service, port and subset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gathered {
    /// They, by uid.
    pub endpoints: Vec<Endpoint>,
    /// How requests spread over their levels.
    pub spread: Spread,
    /// Healthy members of the subset that are no endpoints.
    pub left_out: Vec<LeftOut>,
}

/// The endpoints of `service` at its port `port`, for a proxy that is the workload `local`; of a subset, if there is one.
#[must_use]
pub fn endpoints_of(
    mesh: &Mesh,
    (service, port): (&Service, u16),
    local: &Workload,
    policy: &TrafficPolicy,
    subset: Option<&Selector>,
) -> Gathered {
    let mut gathered = Gathered::default();
    let order = Order::new(service, local, policy);
    if let Order::Shares(places) = order {
        gathered.spread = Spread::Shares(places.iter().map(|(_, share)| *share).collect());
    }
    // The ranks of the service's preferences, of which the highest goes first.
    let mut ranks = vec![];
    for found in route::endpoints(mesh, service, port, local, PortRule::Standard) {
        let workload = found.workload;
        if subset.is_some_and(|subset| !subset.holds(workload)) {
            continue;
        }
        let strict = service.load_balancing.mode == LoadBalancingMode::Strict;
        let level = match found.standing {
            _ if workload.network != local.network => Err(WhyLeftOut::OtherNetwork),
            Standing::Unreachable => Err(WhyLeftOut::NoAddress),
            Standing::NoPort => Err(WhyLeftOut::NoPort),
            Standing::NotPreferred if strict => Err(WhyLeftOut::NotPreferred),
            Standing::NotPreferred | Standing::Eligible => {
                order.level(local, workload).ok_or(WhyLeftOut::NoShare)
            }
        };
        match level {
            Ok(level) => {
                ranks.push(found.rank);
                let workload = Arc::clone(workload);
                gathered.endpoints.push(Endpoint {
                    port: found.port,
                    weight: workload.capacity,
                    workload,
                    level,
                });
            }
            Err(why) => gathered.left_out.push(LeftOut { uid: Arc::clone(&workload.uid), why }),
        }
    }
    if matches!(order, Order::Service) {
        let best = ranks.iter().copied().max().unwrap_or_default();
        for (endpoint, rank) in gathered.endpoints.iter_mut().zip(ranks) {
            endpoint.level = u16::try_from(best.saturating_sub(rank)).unwrap_or(u16::MAX);
        }
    }
    gathered
}

/// What decides about levels.
enum Order<'a> {
    Equal,
    /// The service's own preferences: levels come from ranks afterwards.
    Service,
    Near(&'a [(Arc<str>, Arc<str>)]),
    Labels(&'a [super::locality::PriorityLabel]),
    Shares(&'a [(super::locality::LocalityPattern, u32)]),
}

impl<'a> Order<'a> {
    fn new(service: &Service, local: &Workload, policy: &'a TrafficPolicy) -> Self {
        let detects = policy.outliers.is_some();
        // A proxy that does not know where it is has nobody near.
        let placed = !local.locality.region.is_empty();
        match &policy.locality {
            LocalityRule::Off => Self::Equal,
            LocalityRule::Default if service.load_balancing.mode == LoadBalancingMode::Failover => {
                Self::Service
            }
            LocalityRule::Default if detects && placed => Self::Near(&[]),
            LocalityRule::Failover(regions) if detects && placed => Self::Near(regions),
            LocalityRule::Priority(labels) if detects => Self::Labels(labels),
            LocalityRule::Default | LocalityRule::Failover(_) | LocalityRule::Priority(_) => Self::Equal,
            LocalityRule::Distribute(all) => {
                let own = all.iter().find(|distribute| distribute.from.holds(&local.locality));
                own.map_or(Self::Equal, |own| Self::Shares(&own.to))
            }
        }
    }

    fn level(&self, local: &Workload, endpoint: &Workload) -> Option<u16> {
        match self {
            Self::Equal | Self::Service => Some(0),
            Self::Near(regions) => Some(failover_level(regions, &local.locality, &endpoint.locality)),
            Self::Labels(labels) => Some(priority_level(labels, local, endpoint)),
            Self::Shares(places) => share_of(places, &endpoint.locality),
        }
    }
}

#[cfg(test)]
mod tests;
