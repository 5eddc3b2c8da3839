//! The prefix of a client's inbox.

use std::fmt;

use serde::Deserialize;

/// The prefix of the subjects on which a client waits for answers; `_INBOX` by default.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct InboxPrefix(String);

impl Default for InboxPrefix {
    fn default() -> Self {
        Self("_INBOX".into())
    }
}

impl fmt::Display for InboxPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for InboxPrefix {
    type Error = String;

    fn try_from(prefix: String) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if prefix.split('.').all(|token| !token.is_empty() && token.chars().all(plain)) {
            return Ok(Self(prefix));
        }
        Err(format!(
            "`{prefix}` is no prefix of an inbox: it has letters, digits, `_` and `-` in tokens between dots"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_subject_without_wildcards() {
        for prefix in ["_INBOX", "_INBOX_storage", "cim.inbox.a-b"] {
            assert_eq!(InboxPrefix::try_from(prefix.to_owned()).unwrap().to_string(), prefix);
        }
        for prefix in ["", ".", "a.", ".a", "a..b", "a.*", ">", "a b", "$JS"] {
            let error = InboxPrefix::try_from(prefix.to_owned()).unwrap_err();
            assert!(error.starts_with(&format!("`{prefix}` is no prefix")), "{error}");
        }
    }
}
