//! Values that need more than a derived parser: ports, text matches, addresses, names.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::sync::Arc;

use adit_core::mesh::{GatewayAddress, GatewayTarget, NetworkAddress, ServiceName, StringMatch};
use ipnet::IpNet;
use serde::de::{self, Deserialize, Deserializer, EnumAccess, MapAccess, VariantAccess, Visitor};

use super::error::{self, Problem};
use super::schema::{Gateway, Ports};

/// A port, as a number or (as a key of JSON, which is YAML) as a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Port(pub(super) u16);

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PortVisitor;
        impl Visitor<'_> for PortVisitor {
            type Value = Port;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port between 0 and 65535")
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Port, E> {
                let port = u16::try_from(value).ok();
                port.map(Port).ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(value), &self))
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<Port, E> {
                let port = value.parse().ok();
                port.map(Port).ok_or_else(|| E::invalid_value(de::Unexpected::Str(value), &self))
            }
        }
        deserializer.deserialize_any(PortVisitor)
    }
}

/// A [`StringMatch`] as `{Exact: text}`, or with a YAML tag as `!Exact text`.
pub(super) struct TextMatch(pub(super) StringMatch);

impl<'de> Deserialize<'de> for TextMatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextMatchVisitor)
    }
}

#[derive(Clone, Copy, serde::Deserialize)]
enum TextMatchKind {
    Exact,
    Prefix,
    Suffix,
    Presence,
}

impl TextMatchKind {
    fn of_text(self, text: &str) -> TextMatch {
        TextMatch(match self {
            Self::Exact => StringMatch::Exact(text.into()),
            Self::Prefix => StringMatch::Prefix(text.into()),
            Self::Suffix => StringMatch::Suffix(text.into()),
            Self::Presence => StringMatch::Presence,
        })
    }
}

struct TextMatchVisitor;

impl<'de> Visitor<'de> for TextMatchVisitor {
    type Value = TextMatch;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one of {Exact: text}, {Prefix: text}, {Suffix: text}, {Presence: []}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TextMatch, A::Error> {
        let Some(kind) = map.next_key::<TextMatchKind>()? else {
            return Err(de::Error::invalid_length(0, &self));
        };
        let found = match kind {
            TextMatchKind::Presence => {
                map.next_value::<Vec<()>>()?;
                TextMatch(StringMatch::Presence)
            }
            kind => kind.of_text(&map.next_value::<String>()?),
        };
        if map.next_key::<TextMatchKind>()?.is_some() {
            return Err(de::Error::invalid_length(2, &self));
        }
        Ok(found)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<TextMatch, A::Error> {
        let (kind, content) = tagged.variant::<TextMatchKind>()?;
        match kind {
            TextMatchKind::Presence => {
                content.newtype_variant::<Vec<()>>()?;
                Ok(TextMatch(StringMatch::Presence))
            }
            kind => Ok(kind.of_text(&content.newtype_variant::<String>()?)),
        }
    }
}

/// A map in which a key that appears twice is an error; the parser by itself would keep the last.
pub(super) struct Unique<K, V>(pub(super) BTreeMap<K, V>);

impl<K, V> Default for Unique<K, V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'de, K: Deserialize<'de> + Ord + fmt::Display, V: Deserialize<'de>> Deserialize<'de> for Unique<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MapVisitor<K, V>(PhantomData<(K, V)>);
        impl<'de, K: Deserialize<'de> + Ord + fmt::Display, V: Deserialize<'de>> Visitor<'de> for MapVisitor<K, V> {
            type Value = Unique<K, V>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut unique = BTreeMap::new();
                while let Some(key) = map.next_key()? {
                    match unique.entry(key) {
                        Entry::Occupied(taken) => {
                            return Err(de::Error::custom(format_args!("key {} appears twice", taken.key())));
                        }
                        Entry::Vacant(slot) => slot.insert(map.next_value()?),
                    };
                }
                Ok(Unique(unique))
            }
        }
        deserializer.deserialize_map(MapVisitor(PhantomData))
    }
}

/// Service port → target port; port 0 is no service port.
pub(super) fn ports(entry: &error::Entry, field: &str, ports: &Ports) -> Result<BTreeMap<u16, u16>, Problem> {
    if ports.0.contains_key(&Port(0)) {
        return Err(entry.value(field, 0, "service ports between 1 and 65535"));
    }
    Ok(ports.0.iter().map(|(from, to)| (from.0, to.0)).collect())
}

/// `namespace/hostname`.
pub(super) fn service_name(entry: &error::Entry, field: &str, text: &str) -> Result<ServiceName, Problem> {
    match text.split_once('/') {
        Some((namespace, hostname))
            if !namespace.is_empty() && !hostname.is_empty() && !hostname.contains('/') =>
        {
            Ok(ServiceName { namespace: namespace.into(), hostname: hostname.into() })
        }
        _ => Err(entry.value(field, text, "namespace/hostname")),
    }
}

/// Where a waypoint or a network gateway is: `network/address` (the network may be empty) or `namespace/hostname`, and a
/// port.
pub(super) fn gateway(
    entry: &error::Entry,
    field: &str,
    file: &Gateway,
) -> Result<Arc<GatewayAddress>, Problem> {
    let text = &file.destination;
    let address = text.split_once('/').and_then(|(network, ip)| Some((network, ip.parse::<IpAddr>().ok()?)));
    let target = match address {
        Some((network, ip)) => {
            GatewayTarget::Address(NetworkAddress { network: network.into(), address: ip.to_canonical() })
        }
        None => GatewayTarget::Hostname(service_name(entry, field, text).map_err(|_| {
            entry.value(
                field,
                text,
                "network/address or namespace/hostname; with the default network: /10.0.0.1",
            )
        })?),
    };
    if file.hbone_mtls_port.0 == 0 {
        return Err(entry.value(field, 0, "an hboneMtlsPort between 1 and 65535"));
    }
    Ok(Arc::new(GatewayAddress { target, hbone_port: file.hbone_mtls_port.0 }))
}

/// [`gateway`] where there may be none.
pub(super) fn maybe_gateway(
    entry: &error::Entry,
    field: &str,
    file: Option<&Gateway>,
) -> Result<Option<Arc<GatewayAddress>>, Problem> {
    file.map(|file| gateway(entry, field, file)).transpose()
}

/// An IP address; IPv4 in IPv6 notation becomes IPv4.
pub(super) fn address(entry: &error::Entry, field: &str, text: &str) -> Result<IpAddr, Problem> {
    let address: Result<IpAddr, _> = text.parse();
    address.map(|ip| ip.to_canonical()).map_err(|_| entry.value(field, text, "an IPv4 or IPv6 address"))
}

/// `address/length`, or an address for all of it. Host bits are allowed.
pub(super) fn cidr(entry: &error::Entry, field: &str, text: &str) -> Result<IpNet, Problem> {
    let whole = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse()
        .ok()
        .or_else(whole)
        .ok_or_else(|| entry.value(field, text, "an address range such as 10.0.0.0/8 or fd00::/64"))
}

/// Converts the items of a list, giving each converter the name of its field, such as `vips[2]`.
pub(super) fn each<T, U>(
    field: &str,
    items: impl IntoIterator<Item = T>,
    mut convert: impl FnMut(&str, T) -> Result<U, Problem>,
) -> Result<Vec<U>, Problem> {
    let named = items.into_iter().enumerate();
    named.map(|(position, item)| convert(&format!("{field}[{position}]"), item)).collect()
}
