//! Endpoints that are equally near: who of them may be chosen, and drawing one.
use alloc::vec::Vec;

use super::maglev::Maglev;
use super::policy::HashTable;
use crate::l7::{KeyHash, Ring};
use crate::rng::Rng;

/// The owners of keys, as places in [`Level::all`].
#[derive(Clone, Debug)]
enum Owners {
    Ring(Ring),
    Maglev(Maglev),
}

/// Endpoints that are equally near, as places in the cluster's list.
#[derive(Clone, Debug, Default)]
pub(super) struct Level {
    /// All that have weight.
    all: Vec<usize>,
    /// Those of them that may be chosen now.
    open: Vec<usize>,
    /// The sums of their weights up to each. Empty: all weigh the same.
    sums: Vec<u64>,
    owners: Option<Owners>,
    /// Whose turn it is where all weigh the same.
    turn: usize,
    /// How much of the requests falls to this level, beside others.
    pub(super) load: u64,
    /// Whether so few are healthy that ejections are not looked at.
    pub(super) ignores_ejections: bool,
}

impl Level {
    /// Of members by place, name and weight, all of whom have weight.
    pub(super) fn new(members: &[(usize, &str, u32)], table: Option<HashTable>) -> Self {
        let named = members.iter().map(|(_, name, weight)| (name.as_bytes(), *weight));
        let owners = table.map(|table| match table {
            HashTable::Ring { minimum } => Owners::Ring(Ring::new(named, minimum)),
            HashTable::Maglev { size } => Owners::Maglev(Maglev::new(named, size)),
        });
        Self { all: members.iter().map(|(place, ..)| *place).collect(), owners, ..Self::default() }
    }

    /// All of its members that have weight.
    pub(super) fn all(&self) -> &[usize] {
        &self.all
    }

    /// Those that may be chosen now.
    pub(super) fn open(&self) -> &[usize] {
        &self.open
    }

    /// Says who may be chosen.
    pub(super) fn set_open(&mut self, is_open: impl Fn(usize) -> bool, weight: impl Fn(usize) -> u32) {
        self.open.clear();
        self.open.extend(self.all.iter().copied().filter(|place| is_open(*place)));
        self.sums.clear();
        let mut sum = 0_u64;
        self.sums.extend(self.open.iter().map(|place| {
            sum = sum.saturating_add(weight(*place).into());
            sum
        }));
        let first = self.open.first().map(|place| weight(*place));
        if self.open.iter().all(|place| Some(weight(*place)) == first) {
            self.sums.clear();
        }
    }

    /// Whether all that may be chosen weigh the same.
    pub(super) const fn is_even(&self) -> bool {
        self.sums.is_empty()
    }

    /// Draws one by weight.
    pub(super) fn draw(&self, rng: &mut Rng) -> Option<usize> {
        let at = match self.sums.last() {
            Some(total) => {
                let ticket = rng.below(*total);
                self.sums.partition_point(|sum| *sum <= ticket)
            }
            None => usize::try_from(rng.below(u64::try_from(self.open.len()).ok()?)).ok()?,
        };
        self.open.get(at).copied()
    }

    /// The next one in turn, where all weigh the same.
    pub(super) fn next(&mut self) -> Option<usize> {
        let place = self.open.get(self.turn).or_else(|| self.open.first()).copied();
        self.turn = match self.turn.checked_add(1) {
            Some(turn) if turn < self.open.len() => turn,
            // Beyond the end the first was taken, if somebody has gone since.
            Some(turn) if turn > self.open.len() && self.open.len() > 1 => 1,
            _ => 0,
        };
        place
    }

    /// The first that is good, from a random one on.
    pub(super) fn any(&self, rng: &mut Rng, good: impl Fn(usize) -> bool) -> Option<usize> {
        let start = usize::try_from(rng.below(u64::try_from(self.open.len()).ok()?)).ok()?;
        let (before, after) = self.open.split_at_checked(start)?;
        after.iter().chain(before).copied().find(|place| good(*place))
    }

    /// The owner of a key, if keys have owners here.
    pub(super) fn owner(&self, key: KeyHash, is_open: impl Fn(usize) -> bool) -> Option<usize> {
        let eligible = |at: usize| self.all.get(at).is_some_and(|place| is_open(*place));
        let at = match self.owners.as_ref()? {
            Owners::Ring(ring) => ring.choose(key, eligible),
            Owners::Maglev(maglev) => maglev.choose(key, eligible),
        };
        self.all.get(at?).copied()
    }
}

/// A level is good for 1.4 times what is healthy of it, as Envoy counts: a little that is missing does not drive requests
/// away. In percent.
pub(super) fn capacity(healthy: usize, of: usize) -> u64 {
    let percent = healthy.saturating_mul(140).checked_div(of).unwrap_or_default().min(100);
    u64::try_from(percent).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn level(weights: &[u32]) -> Level {
        let members: Vec<_> =
            weights.iter().enumerate().map(|(place, weight)| (place, "", *weight)).collect();
        let mut level = Level::new(&members, None);
        level.set_open(|_| true, |place| weights[place]);
        level
    }

    #[test]
    fn turns_go_round_also_when_somebody_goes() {
        let mut level = level(&[1; 3]);
        let turns: Vec<_> = (0..4).map_while(|_| level.next()).collect();
        assert_eq!(turns, [0, 1, 2, 0]);
        level.next();
        level.set_open(|place| place != 2, |_| 1);
        let turns: Vec<_> = (0..4).map_while(|_| level.next()).collect();
        assert_eq!(turns, [0, 1, 0, 1]);
        level.set_open(|_| false, |_| 1);
        assert_eq!(
            (level.next(), level.draw(&mut Rng::new(1)), level.any(&mut Rng::new(1), |_| true)),
            (None, None, None)
        );
    }

    #[test]
    fn draws_follow_weights() {
        let (level, mut rng, mut counts) = (level(&[1, 3]), Rng::new(2), vec![0; 2]);
        (0..10_000).filter_map(|_| level.draw(&mut rng)).for_each(|place| counts[place] += 1);
        assert!(!level.is_even() && (2300..2700).contains(&counts[0]), "{counts:?}");
    }

    #[test]
    fn a_level_bears_the_loss_of_some() {
        for (healthy, of, expected) in [(10, 10, 100), (8, 10, 100), (5, 10, 70), (0, 10, 0), (0, 0, 0)] {
            assert_eq!(capacity(healthy, of), expected);
        }
    }
}
