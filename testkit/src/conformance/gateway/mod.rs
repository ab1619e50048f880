//! Cases of the *gateway* suite with a service in place of the gateway, by their names there, as far as a table can say them. Left
//! out is what needs a listener: hosts and certificates of listeners, attachment, grants for references to them.
mod filters;
mod grpc;
mod matching;
mod resilience;

use super::Case;

pub(super) const CASES: [&[Case]; 4] = [matching::CASES, filters::CASES, resilience::CASES, grpc::CASES];
