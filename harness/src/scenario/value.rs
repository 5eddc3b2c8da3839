//! Quantities as scenario files write them: `500ms`, `16MiB`, `10000/s`, `30%`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A text that is not a quantity of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {kind}: write it like `{example}`")]
pub struct ValueError {
    text: String,
    kind: &'static str,
    example: &'static str,
}

macro_rules! quantity {
    ($(#[$meta:meta])* $name:ident($inner:ty) = $word:tt like $pattern:literal,
     $kind:literal, $example:literal, $parse:path, $show:path) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(with = "String", rename = $word, extend("pattern" = $pattern, "examples" = [$example]))]
        pub struct $name($inner);

        impl FromStr for $name {
            type Err = ValueError;

            fn from_str(text: &str) -> Result<Self, ValueError> {
                $parse(text).map(Self).ok_or_else(|| ValueError {
                    text: text.chars().take(40).collect(),
                    kind: $kind,
                    example: $example,
                })
            }
        }

        impl TryFrom<String> for $name {
            type Error = ValueError;

            fn try_from(text: String) -> Result<Self, ValueError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&$show(self.0))
            }
        }
    };
}

quantity! {
    /// A length of time: `10us`, `500ms`, `30s`, `5m`, `1h`.
    Span(u64) = "time" like r"^\d+ ?(h|m|s|ms|us)$", "a length of time", "500ms", parse_span, show_span
}

quantity! {
    /// A number of bytes: `128`, `1KiB`, `16MiB`, `1GiB`.
    Size(u64) = "size" like r"^\d+ ?(GiB|MiB|KiB|B|)$", "a size", "16MiB", parse_size, show_size
}

quantity! {
    /// Events per second: `10000/s`.
    Rate(u32) = "rate" like r"^[1-9]\d*(/s)?$", "a rate", "10000/s", parse_rate, show_rate
}

quantity! {
    /// A share of a whole, to a tenth: `30%`, `33.3%`.
    Percent(u16) = "share" like r"^(100(\.0)?|\d{1,2}(\.\d)?)%$", "a percentage", "30%", parse_percent, show_percent
}

quantity! {
    /// A time by which a clock is set, back or forward, in whole seconds: `-10m`, `1h`, `90s`.
    Shift(i64) = "shift" like r"^-?\d+ ?(h|m|s)$", "a time to set a clock by", "-10m", parse_shift, show_shift
}

impl Shift {
    /// Returns the seconds.
    pub const fn as_seconds(self) -> i64 {
        self.0
    }

    /// Reports whether it changes nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl Span {
    /// Makes it from microseconds.
    pub const fn micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Returns the microseconds.
    pub const fn as_micros(self) -> u64 {
        self.0
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        Self::from_micros(span.0)
    }
}

impl Size {
    /// Returns the bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// Makes it from bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }
}

impl Rate {
    /// Returns the events per second; never 0.
    pub const fn per_second(self) -> u32 {
        self.0
    }
}

impl Percent {
    /// Makes it from tenths of a percent.
    pub const fn permille(permille: u16) -> Self {
        Self(permille)
    }

    /// Returns the tenths of a percent.
    pub const fn as_permille(self) -> u16 {
        self.0
    }

    /// Returns this share of `whole`.
    pub fn of(self, whole: u64) -> u64 {
        whole.saturating_mul(self.0.into()) / 1000
    }
}

const SPANS: [(&str, u64); 5] =
    [("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1000), ("us", 1)];
const SIZES: [(&str, u64); 5] =
    [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1), ("", 1)];

fn parse_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = units.iter().find(|(name, _)| *name == unit.trim())?.1;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn show_unit(value: u64, units: &[(&str, u64)]) -> String {
    let fits = |(_, factor): &&(&str, u64)| value.is_multiple_of(*factor) && value >= *factor;
    match units.iter().find(fits) {
        Some((name, factor)) => format!("{}{name}", value / factor),
        None => format!("0{}", units[2].0),
    }
}

fn parse_span(text: &str) -> Option<u64> {
    parse_unit(text, &SPANS)
}

fn show_span(micros: u64) -> String {
    show_unit(micros, &SPANS)
}

const SHIFTS: [(&str, u64); 3] = [("h", 3600), ("m", 60), ("s", 1)];

fn parse_shift(text: &str) -> Option<i64> {
    let (sign, length) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    Some(sign * i64::try_from(parse_unit(length, &SHIFTS)?).ok()?)
}

fn show_shift(seconds: i64) -> String {
    let sign = if seconds < 0 { "-" } else { "" };
    format!("{sign}{}", show_unit(seconds.unsigned_abs(), &SHIFTS))
}

fn parse_size(text: &str) -> Option<u64> {
    parse_unit(text, &SIZES)
}

fn show_size(bytes: u64) -> String {
    show_unit(bytes, &SIZES)
}

fn parse_rate(text: &str) -> Option<u32> {
    text.strip_suffix("/s").unwrap_or(text).parse().ok().filter(|rate| *rate > 0)
}

fn show_rate(rate: u32) -> String {
    format!("{rate}/s")
}

fn parse_percent(text: &str) -> Option<u16> {
    let (whole, tenth) =
        text.strip_suffix('%')?.split_once('.').unwrap_or((text.strip_suffix('%')?, "0"));
    let tenth = tenth.parse::<u16>().ok().filter(|t| *t < 10)?;
    Some(whole.parse::<u16>().ok()?.checked_mul(10)? + tenth).filter(|p| *p <= 1000)
}

fn show_percent(permille: u16) -> String {
    match permille % 10 {
        0 => format!("{}%", permille / 10),
        tenth => format!("{}.{tenth}%", permille / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_back() {
        for text in ["500ms", "30s", "5m", "1h", "7us", "0s"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        for text in ["1KiB", "16MiB", "1GiB", "37B"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
        for text in ["0%", "33.3%", "100%"] {
            assert_eq!(text.parse::<Percent>().unwrap().to_string(), text);
        }
        for text in ["-10m", "1h", "90s", "-1s", "0s"] {
            assert_eq!(text.parse::<Shift>().unwrap().to_string(), text);
        }
        assert_eq!("-90s".parse::<Shift>().unwrap().as_seconds(), -90);
        assert_eq!("10000/s".parse::<Rate>().unwrap().per_second(), 10_000);
        assert_eq!("128".parse::<Size>().unwrap().bytes(), 128);
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        let refused = "5 parsecs".parse::<Span>().unwrap_err();
        assert_eq!(
            refused.to_string(),
            "`5 parsecs` is not a length of time: write it like `500ms`"
        );
        for text in ["101%", "-1%", "1.55%", "%"] {
            assert!(text.parse::<Percent>().is_err(), "{text}");
        }
        for text in ["0/s", "0", "fast"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
        for text in ["500ms", "--1s", "-", "1"] {
            assert!(text.parse::<Shift>().is_err(), "{text}");
        }
        assert!("99999999999999999999GiB".parse::<Size>().is_err());
    }
}
