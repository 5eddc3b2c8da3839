//! Errors of names.

use std::fmt;

/// Characters of a refused value that an error shows; the rest is cut and its length shown.
const SHOWN: usize = 64;

/// A string that is not a valid name of its kind.
///
/// The message is one line however long or odd the value is: it is cut to 64 characters, and control
/// characters are escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} `{value}` {problem}: {rule}")]
pub struct NameError {
    kind: &'static str,
    value: String,
    problem: Problem,
    rule: &'static str,
}

/// The way in which a name breaks its rule.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The value has no characters.
    Empty,
    /// The value has fewer bytes than the kind asks for.
    TooShort {
        /// Bytes in the value.
        len: usize,
        /// Bytes that it must have.
        min: usize,
    },
    /// The value has more bytes than the kind allows.
    TooLong {
        /// Bytes in the value.
        len: usize,
        /// Bytes that it may have.
        max: usize,
    },
    /// A character that the kind does not allow, or not in this place.
    Character {
        /// The first such character.
        found: char,
        /// Its byte offset in the value.
        at: usize,
    },
    /// The characters are allowed, their arrangement is not.
    Shape(&'static str),
}

impl NameError {
    pub(crate) fn new(
        kind: &'static str,
        value: &str,
        problem: Problem,
        rule: &'static str,
    ) -> Self {
        Self { kind, value: shown(value), problem, rule }
    }

    /// Returns the kind of name expected, such as `stream name`.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Returns the refused value, escaped and cut for printing.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Returns the problem of the value.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }
}

/// Returns the value as an error prints it: escaped, and cut to 64 characters.
pub(crate) fn shown(value: &str) -> String {
    let mut chars = value.chars();
    let mut text: String = chars.by_ref().take(SHOWN).flat_map(escaped).collect();
    if !chars.as_str().is_empty() {
        text.push('…');
    }
    text
}

/// Escapes characters that would break a line or a terminal; printable ones stay as they are.
fn escaped(c: char) -> impl Iterator<Item = char> {
    let (plain, escape) = if matches!(c, '\'' | '"' | '\\') {
        (Some(c), None)
    } else {
        (None, Some(c.escape_debug()))
    };
    plain.into_iter().chain(escape.into_iter().flatten())
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty"),
            Self::TooShort { len, min } => write!(f, "has {len} bytes, fewer than {min}"),
            Self::TooLong { len, max } => write!(f, "has {len} bytes, more than {max}"),
            Self::Character { found, at } => {
                f.write_str("has `")?;
                escaped(*found).try_for_each(|c| fmt::Write::write_char(f, c))?;
                write!(f, "` at byte {at}")
            }
            Self::Shape(what) => f.write_str(what),
        }
    }
}

/// Refuses an empty value and one outside `min..=max` bytes.
pub(super) fn check_len(value: &str, min: usize, max: usize) -> Result<(), Problem> {
    let len = value.len();
    if len == 0 {
        Err(Problem::Empty)
    } else if len < min {
        Err(Problem::TooShort { len, min })
    } else if len > max {
        Err(Problem::TooLong { len, max })
    } else {
        Ok(())
    }
}

/// Refuses the first character for which `allowed` is false.
pub(super) fn check_chars(value: &str, allowed: impl Fn(char) -> bool) -> Result<(), Problem> {
    match value.char_indices().find(|&(_, c)| !allowed(c)) {
        Some((at, found)) => Err(Problem::Character { found, at }),
        None => Ok(()),
    }
}

/// Refuses a value that is not one of `schemes`, a host and perhaps a port.
pub(super) fn check_address(value: &str, schemes: &[&str]) -> Result<(), Problem> {
    let rest = schemes.iter().find_map(|scheme| value.strip_prefix(scheme));
    let rest = rest.ok_or(Problem::Shape("begins with none of its schemes"))?;
    let (host, port) = rest.split_once(':').map_or((rest, None), |(h, p)| (h, Some(p)));
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !host.starts_with(edge) || !host.ends_with(edge) {
        return Err(Problem::Shape(
            "has no host that begins and ends with a lowercase letter or digit",
        ));
    }
    let inner = host.chars().all(|c| edge(c) || matches!(c, '.' | '-'));
    if !inner {
        return Err(Problem::Shape("has a character that is none of a host's"));
    }
    let good = |port: &str| !port.starts_with(['0', '+']) && port.parse::<u16>().is_ok();
    match port {
        Some(port) if !good(port) => Err(Problem::Shape("has a port that is none of 1 to 65535")),
        _ => Ok(()),
    }
}
