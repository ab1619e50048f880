//! What each proxy has of what all proxies of a shard share, so that one whose clients are many leaves room for the others.

/// Counts against a limit of the shard: of all proxies, or of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// User connections, in either direction.
    pub(super) connections: usize,
    /// Inbound tunnels.
    pub(super) tunnels: usize,
    /// Those of them that are in their handshake.
    pub(super) handshakes: usize,
}

impl Usage {
    pub(super) fn tunnel_accepted(&mut self) {
        self.tunnels = self.tunnels.saturating_add(1);
        self.handshakes = self.handshakes.saturating_add(1);
    }

    pub(super) fn handshake_done(&mut self) {
        self.handshakes = self.handshakes.saturating_sub(1);
    }

    pub(super) fn tunnel_gone(&mut self) {
        self.tunnels = self.tunnels.saturating_sub(1);
    }

    pub(super) fn connection_made(&mut self) {
        self.connections = self.connections.saturating_add(1);
    }

    pub(super) fn connection_gone(&mut self) {
        self.connections = self.connections.saturating_sub(1);
    }
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// All together have as many as there may be.
    All,
    /// This one has as many as it may have beside others.
    Share,
}

/// Whether a proxy that has `own` may have one more, where all together have `all` and may have `limit`.
///
/// One that is `alone` may have everything. Beside others, a proxy may have as many as are left free (the dynamic threshold of
/// shared-memory switches, Choudhury and Hahne 1998, with α = 1). So each that is as greedy as it can leaves half of what it
/// found; and as what they have ends and is asked for anew, n of them come to equal parts, and as much stays for the rest.
/// Nothing is reserved for those who are idle.
pub(super) fn admit(own: usize, all: usize, limit: usize, alone: bool) -> Result<(), Full> {
    match limit.saturating_sub(all) {
        0 => Err(Full::All),
        free if alone || own < free => Ok(()),
        _ => Err(Full::Share),
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_alone_may_have_everything() {
        for has in 0..8 {
            assert_eq!(admit(has, has, 8, true), Ok(()));
        }
        assert_eq!(admit(8, 8, 8, true), Err(Full::All));
        assert_eq!(admit(3, 3, 8, false), Ok(()));
        assert_eq!(admit(4, 4, 8, false), Err(Full::Share));
        assert_eq!(admit(0, 0, 1, false), Ok(()));
    }

    proptest! {
        /// Whoever asks in whatever order: each of the greedy leaves half of what there was, and who has nothing yet is
        /// admitted if that is anything.
        #[test]
        fn the_greedy_leave_room(limit in 1_usize..200, greedy in 1_usize..20, order in prop::collection::vec(0_usize..20, 0..600)) {
            let mut has = vec![0_usize; greedy];
            for who in order {
                let all = has.iter().sum();
                let own = &mut has[who % greedy];
                if admit(*own, all, limit, false).is_ok() {
                    *own += 1;
                }
            }
            let all: usize = has.iter().sum();
            prop_assert!(all <= limit);
            let left = limit >> greedy;
            prop_assert!(limit - all >= left);
            prop_assert!(left == 0 || admit(0, all, limit, false) == Ok(()));
        }

        /// Those who ask for anew what has ended come to equal parts, whoever was first.
        #[test]
        fn the_greedy_come_to_equal_parts(limit in 20_usize..200, greedy in 1_usize..8) {
            let mut has = vec![0_usize; greedy];
            for round in 0..50 * limit {
                has[round % greedy] = has[round % greedy].saturating_sub(1);
                for who in 0..greedy {
                    while admit(has[who], has.iter().sum(), limit, false).is_ok() {
                        has[who] += 1;
                    }
                }
            }
            let (least, most) = (has.iter().min().unwrap(), has.iter().max().unwrap());
            let part = limit / (greedy + 1);
            prop_assert!(most - least <= 2 && least + 2 >= part && most.saturating_sub(2) <= part, "{has:?} of {limit}");
        }
    }
}
