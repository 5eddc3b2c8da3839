//! The kinds of values, no two of which have a value in common.

use serde_json::Value;

use crate::number;

/// A kind of value. `number` is two of them, so that `integer` is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Null,
    Boolean,
    Integer,
    /// A number that is no integer.
    Fraction,
    String,
    Array,
    Object,
}

impl Kind {
    pub(crate) const ALL: [Self; 7] = [
        Self::Null,
        Self::Boolean,
        Self::Integer,
        Self::Fraction,
        Self::String,
        Self::Array,
        Self::Object,
    ];

    pub(crate) fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Boolean,
            Value::Number(value) if number::is_integer(value) => Self::Integer,
            Value::Number(_) => Self::Fraction,
            Value::String(_) => Self::String,
            Value::Array(_) => Self::Array,
            Value::Object(_) => Self::Object,
        }
    }

    /// Returns the kind with its article.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "a boolean",
            Self::Integer => "an integer",
            Self::Fraction => "a number that is no integer",
            Self::String => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }

    pub(crate) fn is_number(self) -> bool {
        matches!(self, Self::Integer | Self::Fraction)
    }
}

/// A set of kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kinds(u8);

impl Kinds {
    pub(crate) const ALL: Self = Self(0x7f);

    /// Returns the kinds that the value of keyword `type` names, if it names any that exist.
    pub(crate) fn named(names: &Value) -> Option<Self> {
        match names {
            Value::String(name) => Self::one(name),
            Value::Array(names) => {
                names.iter().try_fold(Self(0), |all, name| Some(all.or(Self::one(name.as_str()?)?)))
            }
            _ => None,
        }
    }

    fn one(name: &str) -> Option<Self> {
        Some(match name {
            "null" => Self::single(Kind::Null),
            "boolean" => Self::single(Kind::Boolean),
            "integer" => Self::single(Kind::Integer),
            "number" => Self::single(Kind::Integer).or(Self::single(Kind::Fraction)),
            "string" => Self::single(Kind::String),
            "array" => Self::single(Kind::Array),
            "object" => Self::single(Kind::Object),
            _ => return None,
        })
    }

    fn single(kind: Kind) -> Self {
        Self(1 << kind as u8)
    }

    fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) fn has(self, kind: Kind) -> bool {
        self.and(Self::single(kind)).0 != 0
    }

    pub(crate) fn each(self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(move |kind| self.has(*kind))
    }
}
