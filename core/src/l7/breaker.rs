//! How much may be under way to one service (Istio: `connectionPool`): what is beyond fails at once, before it waits.

/// Limits of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// `maxConnections`: connections.
    pub connections: u32,
    /// `http1MaxPendingRequests`: requests that wait for a connection.
    pub pending: u32,
    /// `http2MaxRequests`: requests on connections, of either version.
    pub requests: u32,
}

impl Default for Limits {
    /// Istio's: as good as none.
    fn default() -> Self {
        Self { connections: u32::MAX, pending: u32::MAX, requests: u32::MAX }
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counted {
    /// A connection.
    Connection,
    /// A request that waits for one.
    Pending,
    /// A request on one.
    Request,
}

/// There is as much of it as there may be: status 503, flag `UO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("circuit breaker: {what:?} is at its limit of {limit}")]
pub struct Overflow {
    /// Of what.
    pub what: Counted,
    /// The limit.
    pub limit: u32,
}

/// What is under way to one service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Breaker {
    connections: u32,
    pending: u32,
    requests: u32,
}

impl Breaker {
    /// One more begins.
    ///
    /// # Errors
    /// There are too many.
    pub const fn begin(&mut self, what: Counted, limits: Limits) -> Result<(), Overflow> {
        let (count, limit) = match what {
            Counted::Connection => (&mut self.connections, limits.connections),
            Counted::Pending => (&mut self.pending, limits.pending),
            Counted::Request => (&mut self.requests, limits.requests),
        };
        if *count >= limit {
            return Err(Overflow { what, limit });
        }
        *count = count.saturating_add(1);
        Ok(())
    }

    /// One ends.
    pub const fn end(&mut self, what: Counted) {
        let count = match what {
            Counted::Connection => &mut self.connections,
            Counted::Pending => &mut self.pending,
            Counted::Request => &mut self.requests,
        };
        *count = count.saturating_sub(1);
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self, what: Counted) -> u32 {
        match what {
            Counted::Connection => self.connections,
            Counted::Pending => self.pending,
            Counted::Request => self.requests,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_counted_against_its_own_limit() {
        let limits = Limits { connections: 1, pending: 0, requests: 2 };
        let mut breaker = Breaker::default();
        assert_eq!(breaker.begin(Counted::Connection, limits), Ok(()));
        assert_eq!(
            breaker.begin(Counted::Connection, limits),
            Err(Overflow { what: Counted::Connection, limit: 1 })
        );
        assert_eq!(
            breaker.begin(Counted::Pending, limits),
            Err(Overflow { what: Counted::Pending, limit: 0 })
        );
        for _ in 0..2 {
            assert_eq!(breaker.begin(Counted::Request, limits), Ok(()));
        }
        assert!(breaker.begin(Counted::Request, limits).is_err());
        breaker.end(Counted::Request);
        assert_eq!(breaker.begin(Counted::Request, limits), Ok(()));
        assert_eq!(breaker.count(Counted::Request), 2);
        // A limit that sinks below what there is lets nothing in until enough has ended.
        assert!(breaker.begin(Counted::Request, Limits { requests: 1, ..limits }).is_err());
        assert_eq!(breaker.begin(Counted::Pending, Limits::default()), Ok(()));
    }
}
