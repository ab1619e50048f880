//! How many requests to a service may be retries at one time (Istio: `retryBudget`; GEP-3388).

/// Counts the requests to one service, and those of them that are being retried: a service that fails is not also given many
/// times its load.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RetryBudget {
    percent: u32,
    min: u32,
    requests: u32,
    retries: u32,
}

impl RetryBudget {
    /// Retries may be `percent` of all requests (20 by default), and `min` in any case (3).
    #[must_use]
    pub const fn new(percent: u32, min: u32) -> Self {
        Self { percent, min, requests: 0, retries: 0 }
    }

    /// Other bounds count from now on; what is under way stays counted.
    pub const fn handle_bounds(&mut self, percent: u32, min: u32) {
        (self.percent, self.min) = (percent, min);
    }

    /// A request begins.
    pub const fn begin(&mut self) {
        self.requests = self.requests.saturating_add(1);
    }

    /// A request wants to be tried again; false: it may not. It counts as retried until it [ends](Self::end).
    pub fn retry(&mut self) -> bool {
        let share = u64::from(self.requests).saturating_mul(self.percent.into()).checked_div(100);
        let most = share.unwrap_or_default().max(self.min.into());
        let admitted = u64::from(self.retries) < most;
        if admitted {
            self.retries = self.retries.saturating_add(1);
        }
        admitted
    }

    /// A request is over that was retried, or was not.
    pub fn end(&mut self, retried: bool) {
        self.requests = self.requests.saturating_sub(1);
        self.retries = self.retries.saturating_sub(retried.into());
    }

    /// Requests, and how many of them are retried.
    #[must_use]
    pub const fn in_use(&self) -> (u32, u32) {
        (self.requests, self.retries)
    }
}

impl Default for RetryBudget {
    /// As [`new`](Self::new) says.
    fn default() -> Self {
        Self::new(20, 3)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_few_may_always_be_retried() {
        let mut budget = RetryBudget::default();
        budget.begin();
        assert_eq!(
            [budget.retry(), budget.retry(), budget.retry(), budget.retry()],
            [true, true, true, false]
        );
    }

    proptest! {
        /// When a retry is admitted, retries are within their share; and nothing is lost.
        #[test]
        fn retries_never_exceed_their_share(percent in 0_u32..150, min in 0_u32..5, steps in prop::collection::vec(0_u8..3, 0..300)) {
            let mut budget = RetryBudget::new(percent, min);
            let (mut plain, mut retried) = (0_u32, 0_u32);
            for step in steps {
                match step {
                    0 => {
                        budget.begin();
                        plain += 1;
                    }
                    1 if plain > 0 && budget.retry() => {
                        (plain, retried) = (plain - 1, retried + 1);
                        let most = ((plain + retried) * percent / 100).max(min);
                        prop_assert!(retried <= most, "{retried} of {} with {percent} %", plain + retried);
                    }
                    2 if retried > 0 => {
                        budget.end(true);
                        retried -= 1;
                    }
                    2 if plain > 0 => {
                        budget.end(false);
                        plain -= 1;
                    }
                    _ => {}
                }
                prop_assert_eq!(budget.in_use(), (plain + retried, retried));
            }
        }
    }
}
