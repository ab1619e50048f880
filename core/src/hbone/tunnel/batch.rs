//! How much to read at once: one record after idle, four times as much on every full read (design D6).
use serde::{Deserialize, Serialize};

use crate::buffer::Class;

/// The size of the next read, in the steps of the buffer classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Batch(Class);

impl Batch {
    /// After idle.
    pub(super) const fn new(least: Class) -> Self {
        Self(least)
    }

    pub(super) const fn class(self) -> Class {
        self.0
    }

    /// A read of `n` octets came back where `lent` were offered.
    ///
    /// A read that filled everything asks for more next time. One that would have fitted the step below goes down, by one
    /// step only: a stream in bulk now and then drains its socket, and starting again from one record would cost it
    /// three small reads each time.
    pub(super) fn after_read(&mut self, n: usize, lent: usize) {
        if n >= lent {
            // What was offered may have been cut short by a window or the rest of a chunk; such a read says little.
            if lent.saturating_mul(2) >= self.0.payload() {
                self.0 = self.0.larger();
            }
        } else if n <= self.0.smaller().payload() {
            self.0 = self.0.smaller();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::MAX_PAYLOAD;

    #[test]
    fn grows_fourfold_on_full_reads_and_stays_at_the_top() {
        let mut batch = Batch::new(Class::Record);
        let mut seen = std::vec::Vec::new();
        for _ in 0..5 {
            seen.push(batch.class().slots());
            let lent = batch.class().payload() - 9;
            batch.after_read(lent, lent);
        }
        assert_eq!(seen, [1, 4, 16, 63, 63]);
    }

    #[test]
    fn falls_one_step_on_a_read_that_would_have_fitted_below() {
        let mut batch = Batch(Class::Large);
        let lent = Class::Large.payload();
        batch.after_read(20 * MAX_PAYLOAD, lent);
        assert_eq!(batch.class(), Class::Large, "16 records would not have been enough");
        batch.after_read(100, lent);
        assert_eq!(batch.class(), Class::Medium);
        batch.after_read(100, Class::Medium.payload());
        batch.after_read(100, Class::Small.payload());
        batch.after_read(100, Class::Record.payload());
        assert_eq!(batch.class(), Class::Record);
    }

    #[test]
    fn a_full_read_of_a_scrap_changes_nothing() {
        let mut batch = Batch(Class::Small);
        batch.after_read(100, 100);
        assert_eq!(batch.class(), Class::Small);
    }
}
