//! The server of an archived stream: two hosts may have streams of the same name.

use std::fmt::{self, Display};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// By whom a stream was served when it was archived. Since format 5, and only where the servers have names that
/// outlive them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Served {
    /// The cluster's name, else the server's, else that of the `JetStream` domain.
    pub name: String,
    /// The account, where the server tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}

impl Served {
    /// Reports whether these are two different servers, as far as both are known.
    pub fn differs(&self, other: &Self) -> bool {
        let accounts = self.account.as_ref().zip(other.account.as_ref());
        self.name != other.name || accounts.is_some_and(|(one, other)| one != other)
    }

    /// Returns the server if it adds to `known`, or `None` if `known` already says the same.
    pub fn news(&self, known: Option<&Self>) -> Option<Self> {
        let says_all = |known: &Self| !self.differs(known) && known.account >= self.account;
        (!known.is_some_and(says_all)).then(|| self.clone())
    }
}

impl Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.name)?;
        self.account.as_ref().map_or(Ok(()), |account| write!(f, ", account `{account}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(name: &str, account: Option<&str>) -> Served {
        Served { name: name.into(), account: account.map(Into::into) }
    }

    #[test]
    fn what_is_not_known_tells_no_two_apart() {
        let (a, b) = (served("a", Some("$G")), served("b", Some("$G")));
        assert!(a.differs(&b) && a.differs(&served("a", Some("X"))));
        let unknown = served("a", None);
        assert!(!a.differs(&a) && !a.differs(&unknown) && !unknown.differs(&a));
    }

    #[test]
    fn what_is_known_is_not_said_again() {
        let (a, b, unknown) = (served("a", Some("$G")), served("b", None), served("a", None));
        assert_eq!(a.news(None), Some(a.clone()));
        assert_eq!(a.news(Some(&a)), None);
        assert_eq!(a.news(Some(&unknown)), Some(a.clone()));
        assert_eq!(unknown.news(Some(&a)), None);
        assert_eq!(b.news(Some(&a)), Some(b.clone()));
        assert_eq!(b.to_string(), "`b`");
        assert_eq!(a.to_string(), "`a`, account `$G`");
    }
}
