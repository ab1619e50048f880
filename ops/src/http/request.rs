//! Requests as handlers see them: method, path, decoded query, and the one header that matters.

/// Parts of a query that are looked at; there is no request with more than three.
const MAX_PARTS: usize = 32;

/// The methods that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// GET.
    Get,
    /// POST.
    Post,
    /// Any other.
    Other,
}

/// A request without its body, which nobody reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// Path and query.
    pub target: Target,
    /// All `accept` headers, joined by commas.
    pub accept: String,
}

impl Request {
    /// A request without headers.
    #[must_use]
    pub fn new(method: Method, target: &str) -> Self {
        Self { method, target: Target::parse(target), accept: String::new() }
    }
}

/// The target of a request, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The path as it was sent; ours have no characters that would need escapes.
    pub path: String,
    /// What follows the first `?`.
    pub query: Query,
}

/// The parts of a query, decoded, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, Option<String>)>);

impl Target {
    /// Takes `path?query` apart; a fragment is dropped. Never fails: an escape that is none stands for itself.
    #[must_use]
    pub fn parse(target: &str) -> Self {
        let target = target.split('#').next().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let parts = query.split('&').filter(|part| !part.is_empty()).take(MAX_PARTS);
        let query = parts.map(|part| match part.split_once('=') {
            Some((name, value)) => (decode(name), Some(decode(value))),
            None => (decode(part), None),
        });
        Self { path: path.to_owned(), query: Query(query.collect()) }
    }
}

impl Query {
    /// Whether there is nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `name` is there, with or without a value.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    /// All values of `name`, in order.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(key, _)| key == name).filter_map(|(_, value)| value.as_deref())
    }

    /// The first value of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, value)| key == name && value.is_some())
            .and_then(|(_, value)| value.as_deref())
    }
}

/// Undoes `%41` and `+` (application/x-www-form-urlencoded); octets that are no UTF-8 become U+FFFD.
fn decode(text: &str) -> String {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'+', _) => octets.push(b' '),
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    octets.push(high << 4 | low);
                    rest = after;
                }
                _ => octets.push(b'%'),
            },
            (octet, _) => octets.push(*octet),
        }
    }
    String::from_utf8_lossy(&octets).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_taken_apart() {
        let target = Target::parse("/logging?level=access%3Ddebug,info&reset&x=a+b#y");
        assert_eq!(target.path, "/logging");
        assert_eq!(target.query.get("level"), Some("access=debug,info"));
        assert!(target.query.has("reset") && target.query.get("reset").is_none());
        assert_eq!(target.query.get("x"), Some("a b"));
        assert!(Target::parse("/").query.is_empty());
        assert!(Target::parse("/?&&").query.is_empty());
    }

    #[test]
    fn what_is_no_escape_stands_for_itself() {
        for (text, expected) in
            [("%", "%"), ("%4", "%4"), ("%zz", "%zz"), ("%41%", "A%"), ("%ff", "\u{fffd}"), ("%c3%a9", "é")]
        {
            assert_eq!(decode(text), expected, "{text}");
        }
    }

    #[test]
    fn parts_are_bounded() {
        let long = format!("/?{}", "a=1&".repeat(MAX_PARTS * 2));
        assert_eq!(Target::parse(&long).query.0.len(), MAX_PARTS);
    }
}
