//! All that a waypoint decides by, as it was at one time: made from resources elsewhere, whole, and exchanged whole.
use super::frontends::Frontends;

/// What is configured. A change of resources makes a new one; what is under way goes on by the one it began with.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Which rules requests to a service meet.
    pub frontends: Frontends,
}
