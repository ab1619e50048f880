//! The static and the dynamic table (RFC 7541 §2.3, §4, Appendix A).
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;

use serde::{Deserialize, Serialize};

use super::FIELD_OVERHEAD;

/// The static table; the first entry has index 1 (RFC 7541 Appendix A).
pub(super) static STATIC: [(&[u8], &[u8]); 61] = [
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
];

/// The name of an entry or of a literal, without a copy where there is one already.
#[derive(Clone, Debug)]
pub(super) enum Name<'a> {
    Static(&'static [u8]),
    /// From the dynamic table. Shared, because a chain of insertions that each take the name of the last one would
    /// otherwise copy up to a whole table for two octets of input.
    Shared(Arc<[u8]>),
    Literal(Cow<'a, [u8]>),
}

impl AsRef<[u8]> for Name<'_> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Static(name) => name,
            Self::Shared(name) => name,
            Self::Literal(name) => name,
        }
    }
}

impl Name<'_> {
    fn into_shared(self) -> Arc<[u8]> {
        match self {
            Self::Static(name) => name.into(),
            Self::Shared(name) => name,
            Self::Literal(name) => name.into(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Entry {
    name: Arc<[u8]>,
    value: Box<[u8]>,
}

impl Entry {
    fn size(&self) -> usize {
        size(&self.name, &self.value)
    }
}

/// What a field counts in a table and in a list.
pub(super) fn size(name: &[u8], value: &[u8]) -> usize {
    name.len().saturating_add(value.len()).saturating_add(FIELD_OVERHEAD)
}

/// The dynamic table behind the static one. Holds at most `capacity / 32` entries and `capacity` octets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Table {
    /// The newest entry is at the front.
    entries: VecDeque<Entry>,
    /// The sum of the entries' sizes.
    size: usize,
    /// What the peer's encoder has set as the table's maximum size.
    capacity: usize,
}

impl Table {
    pub(super) const fn new(capacity: usize) -> Self {
        Self { entries: VecDeque::new(), size: 0, capacity }
    }

    pub(super) const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Octets in use.
    #[cfg(test)]
    pub(super) const fn size(&self) -> usize {
        self.size
    }

    /// spec: rfc7541#4.3
    pub(super) fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
        self.evict_to(capacity);
    }

    /// The entry at `index`, counted from 1 through both tables (RFC 7541 §2.3.3).
    pub(super) fn get(&self, index: usize) -> Option<(&[u8], &[u8])> {
        let position = index.checked_sub(1)?;
        match position.checked_sub(STATIC.len()) {
            None => STATIC.get(position).copied(),
            Some(position) => {
                self.entries.get(position).map(|entry| (entry.name.as_ref(), entry.value.as_ref()))
            }
        }
    }

    /// The name of the entry at `index`.
    pub(super) fn name(&self, index: usize) -> Option<Name<'static>> {
        let position = index.checked_sub(1)?;
        match position.checked_sub(STATIC.len()) {
            None => STATIC.get(position).map(|(name, _)| Name::Static(name)),
            Some(position) => self.entries.get(position).map(|entry| Name::Shared(Arc::clone(&entry.name))),
        }
    }

    /// spec: rfc7541#4.4: makes room first; an entry above the capacity leaves the table empty.
    pub(super) fn insert(&mut self, name: Name<'_>, value: &[u8]) {
        let added = size(name.as_ref(), value);
        let Some(room) = self.capacity.checked_sub(added) else {
            return self.evict_to(0);
        };
        self.evict_to(room);
        self.size = self.size.saturating_add(added);
        self.entries.push_front(Entry { name: name.into_shared(), value: value.into() });
    }

    fn evict_to(&mut self, size: usize) {
        while self.size > size {
            let Some(oldest) = self.entries.pop_back() else { break };
            self.size = self.size.saturating_sub(oldest.size());
        }
    }
}
