//! SPIFFE identities as Istio uses them: `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT`.
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const SCHEME: &str = "spiffe://";

/// A workload's identity. Ordered and hashable so that sets of them compare in full.
///
/// Only texts that the SPIFFE ID specification (§2) allows are identities, and of those only Istio's five-part form, so
/// two identities are equal exactly when their texts are. Serialises as its text.
/// Cheap to clone, and one pointer wide: there is one in every workload, and many workloads have the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity(Arc<Parts>);

impl Ord for Identity {
    fn cmp(&self, other: &Self) -> Ordering {
        // Whoever is looked for in a table mostly is the very one that is there.
        if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

impl PartialOrd for Identity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Parts {
    trust_domain: Box<str>,
    namespace: Box<str>,
    service_account: Box<str>,
}

/// Why a text is no identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The scheme is another, or not in lower case.
    #[error("SPIFFE identity must begin with spiffe://")]
    Scheme,
    /// The whole is longer than [`Identity::MAX_LENGTH`].
    #[error("SPIFFE identity is longer than {} octets", Identity::MAX_LENGTH)]
    TooLong,
    /// The trust domain is empty, too long, or has characters that it may not have (no port or user either).
    #[error("trust domain must be 1 to {} of a-z, 0-9, '.', '-' and '_'", Identity::MAX_TRUST_DOMAIN)]
    TrustDomain,
    /// The path is not of Istio's form.
    #[error("path of the SPIFFE identity must be /ns/NAMESPACE/sa/SERVICE-ACCOUNT")]
    Path,
    /// The namespace or the service account is empty, a dot segment, or has characters that it may not have.
    #[error(
        "namespace and service account must be one or more of A-Z, a-z, 0-9, '.', '-' and '_', and neither '.' nor '..'"
    )]
    Segment,
}

impl Identity {
    /// Longest text of an identity, in octets (SPIFFE-ID §2.3).
    pub const MAX_LENGTH: usize = 2048;
    /// Longest trust domain, in octets (SPIFFE-ID §2.3).
    pub const MAX_TRUST_DOMAIN: usize = 255;

    /// Builds an identity from its parts.
    ///
    /// # Errors
    /// `TrustDomain`, `Segment` and `TooLong`, as [`FromStr`] judges them.
    pub fn new(trust_domain: &str, namespace: &str, service_account: &str) -> Result<Self, IdentityError> {
        let fixed = SCHEME.len().saturating_add("/ns//sa/".len());
        let length = [trust_domain, namespace, service_account]
            .iter()
            .fold(fixed, |length, part| length.saturating_add(part.len()));
        if length > Self::MAX_LENGTH {
            return Err(IdentityError::TooLong);
        }
        if !is_trust_domain(trust_domain) {
            return Err(IdentityError::TrustDomain);
        }
        if !is_segment(namespace) || !is_segment(service_account) {
            return Err(IdentityError::Segment);
        }
        Ok(Self(Arc::new(Parts {
            trust_domain: trust_domain.into(),
            namespace: namespace.into(),
            service_account: service_account.into(),
        })))
    }

    /// The trust domain, such as `cluster.local`.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        &self.0.trust_domain
    }

    /// The Kubernetes namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.0.namespace
    }

    /// The Kubernetes service account.
    #[must_use]
    pub fn service_account(&self) -> &str {
        &self.0.service_account
    }

    /// How many values share this copy of the parts.
    pub(crate) fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// The identity without `spiffe://`, as policies compare principals.
    pub fn principal(&self) -> impl fmt::Display + '_ {
        struct Principal<'a>(&'a Identity);
        impl fmt::Display for Principal<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let Parts { trust_domain, namespace, service_account } = &*self.0.0;
                write!(f, "{trust_domain}/ns/{namespace}/sa/{service_account}")
            }
        }
        Principal(self)
    }
}

/// SPIFFE-ID §2.1.
fn is_trust_domain(text: &str) -> bool {
    (1..=Identity::MAX_TRUST_DOMAIN).contains(&text.len())
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_'))
}

/// SPIFFE-ID §2.2.
fn is_segment(text: &str) -> bool {
    !matches!(text, "" | "." | "..")
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

impl fmt::Display for Identity {
    /// The full `spiffe://…` form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.principal())
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    /// Accepts exactly what [`fmt::Display`] writes: nothing percent-encoded, no query, fragment, user, port or further
    /// segment, no upper-case scheme or trust domain.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix(SCHEME).ok_or(IdentityError::Scheme)?;
        if text.len() > Self::MAX_LENGTH {
            return Err(IdentityError::TooLong);
        }
        let (trust_domain, path) = rest.split_once('/').ok_or(IdentityError::Path)?;
        let mut segments = path.split('/');
        let (Some("ns"), Some(namespace), Some("sa"), Some(service_account), None) =
            (segments.next(), segments.next(), segments.next(), segments.next(), segments.next())
        else {
            return Err(IdentityError::Path);
        };
        Self::new(trust_domain, namespace, service_account)
    }
}

impl Serialize for Identity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Identity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// An unordered set of identities: sorted and without duplicates, so that equality ignores order. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<Identity>")]
pub struct IdentitySet(Arc<[Identity]>);

impl IdentitySet {
    /// The set of `identity` alone.
    #[must_use]
    pub fn single(identity: Identity) -> Self {
        Self(Arc::new([identity]))
    }

    /// Whether `identity` is in the set, its trust domain included. Logarithmic in the set's size.
    #[must_use]
    pub fn contains(&self, identity: &Identity) -> bool {
        self.0.binary_search(identity).is_ok()
    }

    /// How many identities there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The identities in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Identity> {
        self.0.iter()
    }
}

impl From<Vec<Identity>> for IdentitySet {
    fn from(mut identities: Vec<Identity>) -> Self {
        identities.sort_unstable();
        identities.dedup();
        Self(identities.into())
    }
}

impl FromIterator<Identity> for IdentitySet {
    fn from_iter<T: IntoIterator<Item = Identity>>(iter: T) -> Self {
        iter.into_iter().collect::<Vec<_>>().into()
    }
}

impl fmt::Display for IdentitySet {
    /// The members in their order, each with a comma behind it, as Istio's logs list them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|identity| write!(f, "{identity},"))
    }
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::ToString;
    use std::vec;

    use proptest::prelude::*;

    use super::*;

    fn identity(text: &str) -> Identity {
        text.parse().unwrap()
    }

    #[test]
    fn parts_and_both_forms() {
        let text = "spiffe://cluster.local/ns/Default_1/sa/sleep.v-2";
        let id = identity(text);
        assert_eq!(
            (id.trust_domain(), id.namespace(), id.service_account()),
            ("cluster.local", "Default_1", "sleep.v-2")
        );
        assert_eq!(id.to_string(), text);
        assert_eq!(id.principal().to_string(), "cluster.local/ns/Default_1/sa/sleep.v-2");
        assert_eq!(Identity::new("cluster.local", "Default_1", "sleep.v-2"), Ok(id));
    }

    #[test]
    fn everything_else_is_refused_with_its_reason() {
        use IdentityError::{Path, Scheme, Segment, TrustDomain};
        for (text, reason) in [
            ("", Scheme),
            ("spiffe:/td/ns/n/sa/s", Scheme),
            ("SPIFFE://td/ns/n/sa/s", Scheme),
            ("https://td/ns/n/sa/s", Scheme),
            (" spiffe://td/ns/n/sa/s", Scheme),
            ("spiffe://", Path),
            ("spiffe://td", Path),
            ("spiffe://td/", Path),
            ("spiffe://td/ns/n/sa", Path),
            ("spiffe://td/ns/n/sa/s/", Path),
            ("spiffe://td/ns/n/sa/s/x", Path),
            ("spiffe://td//ns/n/sa/s", Path),
            ("spiffe://td/NS/n/sa/s", Path),
            ("spiffe://td/sa/s/ns/n", Path),
            ("spiffe:///ns/n/sa/s", TrustDomain),
            ("spiffe://TD/ns/n/sa/s", TrustDomain),
            ("spiffe://td:80/ns/n/sa/s", TrustDomain),
            ("spiffe://user@td/ns/n/sa/s", TrustDomain),
            ("spiffe://t%64/ns/n/sa/s", TrustDomain),
            ("spiffe://tđ/ns/n/sa/s", TrustDomain),
            ("spiffe://*/ns/n/sa/s", TrustDomain),
            ("spiffe://td/ns//sa/s", Segment),
            ("spiffe://td/ns/n/sa/", Segment),
            ("spiffe://td/ns/./sa/s", Segment),
            ("spiffe://td/ns/n/sa/..", Segment),
            ("spiffe://td/ns/n/sa/s?x", Segment),
            ("spiffe://td/ns/n/sa/s#x", Segment),
            ("spiffe://td/ns/n/sa/%2e", Segment),
            ("spiffe://td/ns/n/sa/s\0", Segment),
            ("spiffe://td/ns/n/sa/s\n", Segment),
            ("spiffe://td/ns/n/sa/ß", Segment),
        ] {
            assert_eq!(text.parse::<Identity>(), Err(reason), "{text:?}");
        }
        // Three dots are no dot segment.
        identity("spiffe://td/ns/.../sa/s");
    }

    #[test]
    fn lengths_at_the_limit_and_one_above() {
        let td = |n: usize| Identity::new(&"t".repeat(n), "n", "s");
        assert!(td(255).is_ok());
        assert_eq!(td(256), Err(IdentityError::TrustDomain));
        let total = |n: usize| format!("spiffe://td/ns/n/sa/{}", "s".repeat(n - 20));
        assert_eq!(total(2048).len(), 2048);
        assert!(total(2048).parse::<Identity>().is_ok());
        assert_eq!(total(2049).parse::<Identity>(), Err(IdentityError::TooLong));
        assert_eq!(Identity::new("td", "n", &"s".repeat(2029)), Err(IdentityError::TooLong));
    }

    #[test]
    fn parts_cannot_smuggle_a_separator() {
        assert_eq!(Identity::new("td", "n/sa/x", "s"), Err(IdentityError::Segment));
        assert_eq!(Identity::new("td/ns/x", "n", "s"), Err(IdentityError::TrustDomain));
    }

    #[test]
    fn sets_ignore_order_and_duplicates() {
        let (a, b) = (identity("spiffe://td/ns/n/sa/a"), identity("spiffe://td/ns/n/sa/b"));
        let other = identity("spiffe://other/ns/n/sa/a");
        let set: IdentitySet = [b.clone(), a.clone(), b.clone()].into_iter().collect();
        assert_eq!(set, [a.clone(), b.clone()].into_iter().collect());
        assert_eq!((set.len(), set.is_empty()), (2, false));
        assert!(set.contains(&a) && set.contains(&b) && !set.contains(&other));
        assert_eq!(set.iter().collect::<Vec<_>>(), vec![&a, &b]);
        assert_eq!(set.to_string(), "spiffe://td/ns/n/sa/a,spiffe://td/ns/n/sa/b,");
        let single = IdentitySet::single(a.clone());
        assert!(single.contains(&a) && !single.contains(&b));
        assert!(IdentitySet::default().is_empty() && !IdentitySet::default().contains(&a));
    }

    #[test]
    fn what_is_thawed_is_checked() {
        let (a, b) = (identity("spiffe://td/ns/n/sa/a"), identity("spiffe://td/ns/n/sa/b"));
        let set: IdentitySet = [a.clone(), b.clone()].into_iter().collect();
        let disordered = postcard::to_allocvec(&vec![b, a]).unwrap();
        assert_eq!(postcard::from_bytes(&disordered), Ok(set.clone()));
        assert_eq!(postcard::from_bytes(&postcard::to_allocvec(&set).unwrap()), Ok(set));
        assert!(postcard::from_bytes::<Identity>(&postcard::to_allocvec("spiffe://td/x").unwrap()).is_err());
    }

    /// The rules once more, slowly: a list of parts, each compared or looked up character by character.
    fn oracle(text: &str) -> Option<[&str; 3]> {
        const LOWER: &str = "abcdefghijklmnopqrstuvwxyz0123456789.-_";
        const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let parts: Vec<&str> = text.split('/').collect();
        let [scheme, empty, td, ns, namespace, sa, account] = parts[..] else { return None };
        let lower = |part: &str| part.chars().all(|c| LOWER.contains(c));
        let any = |part: &str| part.chars().all(|c| LOWER.contains(c) || UPPER.contains(c));
        let shape = scheme == "spiffe:" && empty.is_empty() && ns == "ns" && sa == "sa";
        let names = [namespace, account].iter().all(|p| any(p) && !p.is_empty() && *p != "." && *p != "..");
        let domain = lower(td) && !td.is_empty() && td.len() <= 255;
        (shape && names && domain && text.len() <= 2048).then_some([td, namespace, account])
    }

    proptest! {
        #[test]
        fn parser_agrees_with_the_oracle(
            text in prop_oneof![
                "spiffe://[a-zA-Z.:@%_-]{0,4}/ns/[a-zA-Z.%_-]{0,3}/sa/[a-zA-Z.?#_/-]{0,3}",
                "spiffe:/{1,3}[a-z.]{0,2}(/(ns|sa|n|\\.|\\.\\.|)){0,6}",
                "(spiffe|SPIFFE|http):?/{0,3}[a-z]{0,2}/ns/n/sa/s",
                ".*",
            ],
        ) {
            let parsed = text.parse::<Identity>();
            match oracle(&text) {
                Some([td, namespace, account]) => {
                    let id = parsed.unwrap();
                    prop_assert_eq!((id.trust_domain(), id.namespace(), id.service_account()), (td, namespace, account));
                    prop_assert_eq!(id.to_string(), text);
                }
                None => prop_assert!(parsed.is_err()),
            }
        }
    }
}
