//! Keyword `format`: what follows from what.
//!
//! A validator may assert a format, or only note it. So a format of the documents proves formats and nothing else,
//! and a format that is asked for needs its proof.

use serde_json::Number;

use crate::kind::Kind;
use crate::number;

/// The integer formats that schemars writes, with their least and greatest values.
const INTEGERS: [(&str, i128, i128); 12] = [
    ("uint8", 0, u8::MAX as i128),
    ("uint16", 0, u16::MAX as i128),
    ("uint32", 0, u32::MAX as i128),
    ("uint64", 0, u64::MAX as i128),
    ("uint", 0, u64::MAX as i128),
    ("uint128", 0, i128::MAX),
    ("int8", i8::MIN as i128, i8::MAX as i128),
    ("int16", i16::MIN as i128, i16::MAX as i128),
    ("int32", i32::MIN as i128, i32::MAX as i128),
    ("int64", i64::MIN as i128, i64::MAX as i128),
    ("int", i64::MIN as i128, i64::MAX as i128),
    ("int128", i128::MIN, i128::MAX),
];

/// Formats of strings: other values pass them.
const STRINGS: [&str; 21] = [
    "date-time",
    "date",
    "time",
    "duration",
    "email",
    "idn-email",
    "hostname",
    "idn-hostname",
    "ipv4",
    "ipv6",
    "ip",
    "uri",
    "uri-reference",
    "iri",
    "iri-reference",
    "uuid",
    "uri-template",
    "json-pointer",
    "relative-json-pointer",
    "regex",
    "char",
];

/// Returns the least and the greatest value of an integer format.
pub(crate) fn range(format: &str) -> Option<(i128, i128)> {
    INTEGERS.iter().find(|(name, ..)| *name == format).map(|(_, least, most)| (*least, *most))
}

/// Reports whether a format says something of values of a kind.
pub(crate) fn concerns(format: &str, kind: Kind) -> bool {
    if STRINGS.contains(&format) {
        return kind == Kind::String;
    }
    if range(format).is_some() || matches!(format, "float" | "double") {
        return kind.is_number();
    }
    true
}

/// Reports whether every value of one format is of the other.
pub(crate) fn implies(given: &str, wanted: &str) -> bool {
    if given == wanted {
        return true;
    }
    match (range(given), range(wanted)) {
        (Some((a, b)), Some((c, d))) => c <= a && b <= d,
        _ => matches!((given, wanted), ("ipv4" | "ipv6", "ip") | ("float", "double")),
    }
}

/// Reports whether a number lies within an integer format; `None` if the format is another one.
pub(crate) fn holds(format: &str, value: &Number) -> Option<bool> {
    let (least, most) = range(format)?;
    Some(number::integer(value).is_some_and(|value| least <= value && value <= most))
}
