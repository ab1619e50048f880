//! An HTTP request, as far as decisions look at it.

/// How a request came: what `http` or `https` in its URI would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// In plaintext (inside of a tunnel, that is).
    Http,
    /// In TLS of the application's own.
    Https,
}

impl Scheme {
    /// As in URIs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that URIs leave out.
    #[must_use]
    pub const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// A request, whoever has parsed it. Everything in it is the client's word.
pub trait Request {
    /// The method, in the case it was written.
    fn method(&self) -> &str;

    /// How it came.
    fn scheme(&self) -> Scheme;

    /// `Host` or `:authority`, with the port if it has one.
    fn authority(&self) -> &str;

    /// The path without query, normalised (dot segments and so on) by whoever parsed it.
    fn path(&self) -> &str;

    /// What follows the first `?`, if there is one.
    fn query(&self) -> Option<&str>;

    /// The values of the header `name` (in lower case), in their order.
    fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]>;
}
