//! What a token says: a tree of JSON values.
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A JSON value. Read by serde; an object with the same name twice is none (RFC 7519 §4), so that nobody else takes the other
/// one for what counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Claim {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Number {
        /// Its whole part, or the nearest there is.
        whole: i64,
        /// As it is written.
        text: Box<str>,
    },
    /// A text.
    Text(Box<str>),
    /// An array.
    List(Vec<Self>),
    /// An object.
    Map(BTreeMap<Box<str>, Self>),
}

impl Claim {
    /// The text, if it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null
            | Self::Bool(_)
            | Self::Integer(_)
            | Self::Number { .. }
            | Self::List(_)
            | Self::Map(_) => None,
        }
    }

    /// What an object says under `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Map(map) => map.get(name),
            Self::Null
            | Self::Bool(_)
            | Self::Integer(_)
            | Self::Number { .. }
            | Self::Text(_)
            | Self::List(_) => None,
        }
    }

    /// What is found by going from object to object along `path`.
    #[must_use]
    pub fn at<'p>(&self, path: impl IntoIterator<Item = &'p str>) -> Option<&Self> {
        path.into_iter().try_fold(self, |claim, name| claim.get(name))
    }

    /// Its texts: itself, or those among a list's elements. Anything else has none.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let list = if let Self::List(list) = self { list } else { core::slice::from_ref(self) };
        list.iter().filter_map(Self::text)
    }
}

impl<'de> Deserialize<'de> for Claim {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Json)
    }
}

struct Json;

impl<'de> Visitor<'de> for Json {
    type Value = Claim;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Claim, E> {
        Ok(Claim::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Claim, E> {
        Ok(Claim::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Claim, E> {
        Ok(Claim::Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Claim, E> {
        let number = |_| Claim::Number { whole: i64::MAX, text: format!("{value}").into() };
        Ok(i64::try_from(value).map_or_else(number, Claim::Integer))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Claim, E> {
        #[expect(clippy::cast_possible_truncation, reason = "the whole part is what is wanted; it saturates")]
        let whole = value as i64;
        Ok(Claim::Number { whole, text: format!("{value}").into() })
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Claim, E> {
        Ok(Claim::Text(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Claim, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Claim::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Claim, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((name, value)) = entries.next_entry::<Box<str>, Claim>()? {
            if map.insert(name, value).is_some() {
                return Err(A::Error::custom("an object has the same name twice"));
            }
        }
        Ok(Claim::Map(map))
    }
}
