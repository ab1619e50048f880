//! Going round a table by slices, so that looking at all of it again stops nobody.
use core::time::Duration;

use crate::time::Instant;

/// From one slice to the next; others have their turn meanwhile.
const PAUSE: Duration = Duration::from_millis(1);

/// Where the next slice begins, and how much is left. A new round that begins while one is under way goes on from
/// where that one is, so that rounds, however frequent, never keep the last entry from its turn.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// The slot to be looked at next.
    next: usize,
    /// Slots still to be looked at.
    left: usize,
    due: Option<Instant>,
}

impl Rounds {
    /// When [`turn`](Self::turn) is due.
    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// All of a table of `slots` is to be looked at.
    pub(super) const fn begin(&mut self, slots: usize) {
        self.left = slots;
    }

    /// The next slice of a table that has `slots` now: at most `most`, in two runs of a first slot and a count.
    pub(super) fn turn(&mut self, now: Instant, slots: usize, most: usize) -> [(usize, usize); 2] {
        self.due = None;
        let count = self.left.min(most);
        if self.next >= slots {
            self.next = 0;
        }
        let first = self.next;
        let to_the_end = count.min(slots.saturating_sub(first));
        let from_the_start = count.saturating_sub(to_the_end);
        self.next = if from_the_start > 0 { from_the_start } else { first.saturating_add(count) };
        self.left = self.left.saturating_sub(count);
        if self.left > 0 {
            self.due = Some(now + PAUSE);
        }
        [(first, to_the_end), (0, from_the_start)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_takes_slices_and_a_new_one_goes_on_from_there() {
        let mut rounds = Rounds::default();
        let now = Instant::from_millis(5);
        rounds.begin(10);
        assert_eq!(rounds.turn(now, 10, 4), [(0, 4), (0, 0)]);
        assert_eq!(rounds.poll_timeout(), Some(now + PAUSE));
        rounds.begin(10);
        assert_eq!(rounds.turn(now, 10, 4), [(4, 4), (0, 0)]);
        assert_eq!(rounds.turn(now, 10, 4), [(8, 2), (0, 2)]);
        assert_eq!(rounds.turn(now, 10, 4), [(2, 2), (0, 0)]);
        assert_eq!(rounds.poll_timeout(), None);
        assert_eq!(rounds.turn(now, 10, 4), [(4, 0), (0, 0)]);
        // A table that has shrunk is begun again.
        rounds.begin(3);
        assert_eq!(rounds.turn(now, 3, 4), [(0, 3), (0, 0)]);
    }
}
