//! IPv4 networks.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::shown;

/// A network that hosts are in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Network {
    /// Its addresses.
    pub cidr: Cidr,
}

/// Addresses that begin with the same bits: `192.168.71.0/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    first: Ipv4Addr,
    prefix: u8,
}

/// A string that is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "network `{0}` is not written as its first address, `/` and 0 to 32: write `192.168.71.0/24`"
)]
pub struct CidrError(String);

impl Cidr {
    /// Returns the network's first address.
    pub fn first(self) -> Ipv4Addr {
        self.first
    }

    /// Returns how many bits its addresses have in common.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Reports whether the address is one of the network's.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        self.cut(address) == self.first
    }

    /// Reports whether a machine can have the address: it is in the network, and neither its own nor the
    /// broadcast address, which networks of two or fewer addresses do not have.
    pub fn usable(self, address: Ipv4Addr) -> bool {
        let last = self.first.to_bits() | !self.mask();
        let edges = [self.first.to_bits(), last];
        self.contains(address) && (self.prefix >= 31 || !edges.contains(&address.to_bits()))
    }

    /// Reports whether some address is in both.
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.first) || other.contains(self.first)
    }

    fn cut(self, address: Ipv4Addr) -> Ipv4Addr {
        Ipv4Addr::from_bits(address.to_bits() & self.mask())
    }

    fn mask(self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (first, bits) = text.split_once('/')?;
            let prefix = bits.parse().ok().filter(|&p: &u8| p <= 32 && p.to_string() == bits)?;
            let cidr = Self { first: first.parse().ok()?, prefix };
            // Otherwise one network has many spellings.
            cidr.contains(cidr.first).then_some(cidr)
        };
        parse().ok_or_else(|| CidrError(shown(text)))
    }
}

impl TryFrom<String> for Cidr {
    type Error = CidrError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.to_string()
    }
}

impl JsonSchema for Cidr {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Cidr".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "An IPv4 network: its first address, `/` and how many bits its addresses have in common.",
            "pattern": r"^[0-9]{1,3}(\.[0-9]{1,3}){3}/(3[0-2]|[12]?[0-9])$",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn has_one_spelling() {
        for refused in
            ["10.0.0.1/24", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/024", "10.0.0/24", "/8", "::/0"]
        {
            assert!(refused.parse::<Cidr>().is_err(), "`{refused}` was accepted");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_counting(bits: u32, prefix in 0_u8..=32, other: u32) {
            let size = 1_u64 << (32 - prefix);
            let first = u64::from(bits) / size * size;
            let first_address = Ipv4Addr::from_bits(u32::try_from(first).unwrap());
            let text = format!("{first_address}/{prefix}");
            let cidr: Cidr = text.parse().unwrap();
            prop_assert_eq!(cidr.to_string(), text);
            let inside = (first..first + size).contains(&u64::from(other));
            prop_assert_eq!(cidr.contains(Ipv4Addr::from_bits(other)), inside);
            prop_assert_eq!(cidr.usable(first_address), size <= 2);
        }
    }
}
