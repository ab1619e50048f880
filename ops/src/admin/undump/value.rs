//! JSON values as what they should be, or where and how they are not.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use adit_core::identity::{Identity, IdentityError};
use adit_core::mesh::{GatewayAddress, GatewayTarget, NetworkAddress, ServiceName};
use ipnet::IpNet;
use serde_json::{Map, Value};

/// How much of a wrong value is quoted.
const QUOTED: usize = 60;

/// A value that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// Where, from the value that was read on: empty, or such as `.rules[0]`.
    pub(super) path: String,
    pub(super) fault: Fault,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Missing { expected: &'static str },
    Value { got: String, expected: &'static str },
    Identity(IdentityError),
}

impl Wrong {
    pub(super) fn new(got: &Value, expected: &'static str) -> Self {
        let mut got = got.to_string();
        if got.len() > QUOTED {
            got.truncate(got.floor_char_boundary(QUOTED));
            got.push('…');
        }
        Self { path: String::new(), fault: Fault::Value { got, expected } }
    }

    pub(super) const fn identity(error: IdentityError) -> Self {
        Self { path: String::new(), fault: Fault::Identity(error) }
    }

    /// The same, seen from the object that has the value under `key`.
    pub(super) fn under(mut self, key: &str) -> Self {
        self.path.insert_str(0, &step(key));
        self
    }
}

/// `.key`, or `["key"]` where the key is no plain word.
pub(super) fn step(key: &str) -> String {
    let word = key.bytes().all(|octet| octet.is_ascii_alphanumeric());
    if word && key.starts_with(|first: char| first.is_ascii_alphabetic()) {
        format!(".{key}")
    } else {
        format!("[{}]", Value::from(key))
    }
}

/// An object's fields. `null` counts as absent, as it does where Go reads the dump.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    pub(super) fn of(value: &'a Value) -> Result<Self, Wrong> {
        value.as_object().map(Self).ok_or_else(|| Wrong::new(value, "an object"))
    }

    /// What `read` makes of the field, if it is there.
    pub(super) fn get<T>(
        self,
        key: &str,
        read: impl FnOnce(&'a Value) -> Result<T, Wrong>,
    ) -> Result<Option<T>, Wrong> {
        let value = self.0.get(key).filter(|value| !value.is_null());
        value.map(read).transpose().map_err(|wrong| wrong.under(key))
    }

    pub(super) fn or_default<T: Default>(
        self,
        key: &str,
        read: impl FnOnce(&'a Value) -> Result<T, Wrong>,
    ) -> Result<T, Wrong> {
        self.get(key, read).map(Option::unwrap_or_default)
    }

    pub(super) fn need<T>(
        self,
        key: &str,
        expected: &'static str,
        read: impl FnOnce(&'a Value) -> Result<T, Wrong>,
    ) -> Result<T, Wrong> {
        let missing = || Wrong { path: step(key), fault: Fault::Missing { expected } };
        self.get(key, read)?.ok_or_else(missing)
    }

    /// A list under `key`; none where it is absent.
    pub(super) fn list<T>(
        self,
        key: &str,
        read: impl Fn(&'a Value) -> Result<T, Wrong>,
    ) -> Result<Vec<T>, Wrong> {
        self.or_default(key, |value| list(value, read))
    }
}

pub(super) fn list<'a, T>(
    value: &'a Value,
    read: impl Fn(&'a Value) -> Result<T, Wrong>,
) -> Result<Vec<T>, Wrong> {
    let entries = value.as_array().ok_or_else(|| Wrong::new(value, "a list"))?;
    let numbered = entries.iter().enumerate();
    numbered.map(|(position, entry)| read(entry).map_err(|wrong| at(wrong, position))).collect()
}

/// The same, seen from the list that has the value at `position`.
pub(super) fn at(mut wrong: Wrong, position: usize) -> Wrong {
    wrong.path.insert_str(0, &format!("[{position}]"));
    wrong
}

/// An object as a map; `key` reads its keys.
pub(super) fn map<'a, K: Ord, V>(
    value: &'a Value,
    key: impl Fn(&str) -> Option<K>,
    expected_key: &'static str,
    read: impl Fn(&'a Value) -> Result<V, Wrong>,
) -> Result<BTreeMap<K, V>, Wrong> {
    let fields = Fields::of(value)?;
    let entry = |(text, value): (&'a String, &'a Value)| {
        let key = key(text).ok_or_else(|| Wrong::new(&text.as_str().into(), expected_key).under(text))?;
        Ok((key, read(value).map_err(|wrong| wrong.under(text))?))
    };
    fields.0.iter().map(entry).collect()
}

pub(super) fn text(value: &Value) -> Result<&str, Wrong> {
    value.as_str().ok_or_else(|| Wrong::new(value, "a text"))
}

pub(super) fn shared(value: &Value) -> Result<Arc<str>, Wrong> {
    text(value).map(Arc::from)
}

pub(super) fn flag(value: &Value) -> Result<bool, Wrong> {
    value.as_bool().ok_or_else(|| Wrong::new(value, "true or false"))
}

pub(super) fn number(value: &Value) -> Result<u32, Wrong> {
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| Wrong::new(value, "a number from 0 to 4294967295"))
}

pub(super) fn port(value: &Value) -> Result<u16, Wrong> {
    let port = value.as_u64().and_then(|port| u16::try_from(port).ok());
    port.ok_or_else(|| Wrong::new(value, "a port from 0 to 65535"))
}

/// `{"80": 8080}`
pub(super) fn ports(value: &Value) -> Result<BTreeMap<u16, u16>, Wrong> {
    map(value, |key| key.parse().ok(), "a port from 0 to 65535", port)
}

pub(super) fn ip(value: &Value) -> Result<IpAddr, Wrong> {
    text(value)?.parse().map_err(|_| Wrong::new(value, "an IP address"))
}

pub(super) fn cidr(value: &Value) -> Result<IpNet, Wrong> {
    text(value)?.parse().map_err(|_| Wrong::new(value, "an address range such as 10.0.0.0/8"))
}

/// `network/address`; the network may be empty.
pub(super) fn network_address(value: &Value) -> Result<NetworkAddress, Wrong> {
    address_of(text(value)?).ok_or_else(|| Wrong::new(value, "network/address"))
}

fn address_of(text: &str) -> Option<NetworkAddress> {
    let (network, address) = text.rsplit_once('/')?;
    Some(NetworkAddress { network: network.into(), address: address.parse().ok()? })
}

/// `namespace/hostname`
pub(super) fn service_name(value: &Value) -> Result<ServiceName, Wrong> {
    name_of(text(value)?).ok_or_else(|| Wrong::new(value, NAMESPACE_HOSTNAME))
}

pub(super) const NAMESPACE_HOSTNAME: &str = "namespace/hostname";

pub(super) fn name_of(text: &str) -> Option<ServiceName> {
    let (namespace, hostname) = text.split_once('/')?;
    Some(ServiceName { namespace: namespace.into(), hostname: hostname.into() })
}

/// `{"destination": "network/address" or "namespace/hostname", "hboneMtlsPort": 15008}`
pub(super) fn gateway(value: &Value) -> Result<Arc<GatewayAddress>, Wrong> {
    let expected = "network/address or namespace/hostname";
    let fields = Fields::of(value)?;
    let target = fields.need("destination", expected, |value| {
        let text = text(value)?;
        let address = address_of(text).map(GatewayTarget::Address);
        let target = address.or_else(|| name_of(text).map(GatewayTarget::Hostname));
        target.ok_or_else(|| Wrong::new(value, expected))
    })?;
    let hbone_port = fields.need("hboneMtlsPort", "a port from 0 to 65535", port)?;
    Ok(Arc::new(GatewayAddress { target, hbone_port }))
}

pub(super) fn identity(value: &Value) -> Result<Identity, Wrong> {
    text(value)?.parse().map_err(Wrong::identity)
}

/// Reads one of `words`.
pub(super) fn word<T: Copy>(
    words: &'static [(&'static str, T)],
    expected: &'static str,
) -> impl Fn(&Value) -> Result<T, Wrong> {
    move |value| {
        let known = |text: &str| words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        value.as_str().and_then(known).ok_or_else(|| Wrong::new(value, expected))
    }
}
