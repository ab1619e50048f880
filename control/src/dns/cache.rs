//! What name servers said, for as long as they allow.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Nothing is kept longer, whatever its record says.
const LONGEST: Duration = Duration::from_secs(3600);

struct Known {
    addresses: Vec<IpAddr>,
    until: Instant,
}

/// Addresses by name; when there is no room, what has run out goes, or else some other name.
pub(super) struct Cache {
    most: usize,
    names: Mutex<BTreeMap<Box<str>, Known>>,
}

impl Cache {
    pub(super) fn new(most: usize) -> Self {
        Self { most, names: Mutex::default() }
    }

    fn names(&self) -> MutexGuard<'_, BTreeMap<Box<str>, Known>> {
        // Whole between any two statements.
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, now: Instant, name: &str) -> Option<Vec<IpAddr>> {
        let names = self.names();
        let known = names.get(name).filter(|known| known.until > now)?;
        Some(known.addresses.clone())
    }

    pub(super) fn insert(&self, now: Instant, name: &str, addresses: &[IpAddr], ttl: Duration) {
        if ttl.is_zero() || self.most == 0 {
            return;
        }
        let mut names = self.names();
        if names.len() >= self.most && !names.contains_key(name) {
            names.retain(|_, known| known.until > now);
            if names.len() >= self.most {
                names.pop_first();
            }
        }
        let known = Known { addresses: addresses.to_vec(), until: now + ttl.min(LONGEST) };
        names.insert(name.into(), known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_for_their_time_and_within_bounds() {
        let cache = Cache::new(2);
        let address = [IpAddr::from([10, 0, 0, 1])];
        let (start, seconds) = (Instant::now(), Duration::from_secs);
        cache.insert(start, "a", &address, seconds(5));
        cache.insert(start, "never", &address, Duration::ZERO);
        cache.insert(start, "b", &address, seconds(u64::from(u32::MAX)));
        assert_eq!(cache.get(start, "a").as_deref(), Some(&address[..]));
        assert_eq!(cache.get(start, "never"), None);
        let later = start + seconds(5);
        assert_eq!((cache.get(later, "a"), cache.get(later, "b").is_some()), (None, true));
        cache.insert(later, "c", &address, seconds(5));
        assert!(cache.get(later, "b").is_some(), "what has run out makes room");
        cache.insert(later, "d", &address, seconds(5));
        assert!(cache.get(later, "d").is_some());
        assert_eq!(cache.names().len(), 2);
        cache.insert(later, "d", &address, seconds(u64::from(u32::MAX)));
        assert_eq!(cache.get(later + LONGEST, "d"), None);
    }
}
