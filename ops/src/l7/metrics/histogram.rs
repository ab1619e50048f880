//! Counts by size, with the bounds that Envoy has for all its histograms.

/// Upper bounds (waypoint.md §19.4): milliseconds, or octets.
pub const BOUNDS: [f64; 19] = [
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1000.0,
    2500.0,
    5000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];

/// So many, for the rest as well.
const PLACES: usize = BOUNDS.len() + 1;

/// A histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Histogram {
    places: [u64; PLACES],
    sum: f64,
}

impl Histogram {
    pub(super) fn add(&mut self, value: f64) {
        // Most are small; there are few bounds.
        let place = BOUNDS.iter().position(|bound| value <= *bound).unwrap_or(BOUNDS.len());
        self.places[place] += 1;
        self.sum += value;
    }

    pub(super) fn join(&mut self, other: &Self) {
        for (place, more) in self.places.iter_mut().zip(other.places) {
            *place += more;
        }
        self.sum += other.sum;
    }

    pub(super) fn count(&self) -> u64 {
        self.places.iter().sum()
    }

    pub(super) const fn sum(&self) -> f64 {
        self.sum
    }

    /// Bounds, the rest's being infinite, and how many are between each and the one before.
    pub(super) fn buckets(&self) -> [(f64, u64); PLACES] {
        std::array::from_fn(|i| (BOUNDS.get(i).copied().unwrap_or(f64::INFINITY), self.places[i]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_at_the_first_bound_that_is_not_below_it() {
        let mut histogram = Histogram::default();
        for value in [0.0, 0.5, 0.6, 3_600_000.0, 3_600_001.0, 1e12] {
            histogram.add(value);
        }
        let found: Vec<_> = histogram.buckets().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(found, [(0.5, 2), (1.0, 1), (3_600_000.0, 1), (f64::INFINITY, 2)]);
        assert_eq!(histogram.count(), 6);
        let mut twice = histogram;
        twice.join(&histogram);
        assert_eq!((twice.count(), twice.sum()), (12, 2.0 * histogram.sum()));
    }
}
