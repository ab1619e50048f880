//! The workloads behind a service.

use alloc::sync::Arc;
use core::cmp::Ordering;

use super::index::{Entry, Index, Iter};
use super::{Service, Workload};

/// A workload among those that name a service, ordered by uid.
#[derive(Clone, Debug)]
pub(super) struct Member(pub(super) Arc<Workload>);

impl PartialEq for Member {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Member {}

impl PartialOrd for Member {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Member {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.uid.cmp(&other.0.uid)
    }
}

impl Entry for Member {
    fn mark(&self) -> u64 {
        0
    }
}

/// The workloads behind a service that its health policy accepts, ordered by uid. Health is judged while they are
/// walked, so a change of the policy or of the service costs nothing here.
#[derive(Clone, Copy, Debug)]
pub struct Endpoints<'a> {
    /// Whose health policy counts; without one all members do.
    pub(super) service: Option<&'a Service>,
    pub(super) members: Option<&'a Index<Member>>,
}

impl<'a> Endpoints<'a> {
    /// The workloads.
    #[must_use]
    pub fn iter(&self) -> EndpointIter<'a> {
        EndpointIter { service: self.service, members: self.members.map_or_else(Iter::empty, Index::iter) }
    }

    /// How many there are; counts them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl<'a> IntoIterator for Endpoints<'a> {
    type Item = &'a Arc<Workload>;
    type IntoIter = EndpointIter<'a>;

    fn into_iter(self) -> EndpointIter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &Endpoints<'a> {
    type Item = &'a Arc<Workload>;
    type IntoIter = EndpointIter<'a>;

    fn into_iter(self) -> EndpointIter<'a> {
        self.iter()
    }
}

/// The workloads of [`Endpoints`].
#[derive(Clone, Debug)]
pub struct EndpointIter<'a> {
    service: Option<&'a Service>,
    members: Iter<'a, Member>,
}

impl<'a> Iterator for EndpointIter<'a> {
    type Item = &'a Arc<Workload>;

    fn next(&mut self) -> Option<&'a Arc<Workload>> {
        let service = self.service;
        let accepted = |member: &&Member| service.is_none_or(|service| service.accepts_health_of(&member.0));
        self.members.find(accepted).map(|member| &member.0)
    }
}
