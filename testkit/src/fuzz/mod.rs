//! Bodies of the fuzz targets in `fuzz/`: each takes any octets and panics when a promise is broken.
//!
//! They live here so that plain `cargo test` compiles them and replays the corpus (`tests/fuzz_bodies.rs`).
pub mod admin;
pub mod decision;
pub mod dns;
pub mod frames;
pub mod headers;
pub mod hpack;
pub mod http1;
pub mod jwks;
pub mod jwt;
pub mod pair_hostile;
pub mod policy;
pub mod resources;
pub mod tls;
pub mod undump;
pub mod xds;
pub mod yaml;
pub mod zds;

/// A target: its name, as in `fuzz/fuzz_targets` and `fuzz/corpus`, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 20] = [
    ("admin", admin::body),
    ("frames", frames::body),
    ("hpack", hpack::body),
    ("record_opener", tls::record_opener),
    ("client_hello", tls::client_hello),
    ("headers", headers::body),
    ("yaml", yaml::body),
    ("pair_hostile", pair_hostile::body),
    ("policy", policy::body),
    ("dns", dns::body),
    ("xds", xds::body),
    ("undump", undump::body),
    ("zds", zds::body),
    ("jwt", jwt::body),
    ("jwks", jwks::body),
    ("resources", resources::body),
    ("http1", http1::body),
    ("http1_hyper", http1::hyper),
    ("sniff", http1::sniffed),
    ("decision", decision::body),
];

/// Decisions drawn from the input, one octet each; zero when it is used up.
#[derive(Debug)]
pub(crate) struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    pub(crate) const fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn octet(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    /// Up to `n` octets.
    pub(crate) fn take(&mut self, n: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        head
    }
}
