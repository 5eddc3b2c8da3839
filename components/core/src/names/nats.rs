//! Names that nats-server checks; the rules are those of version 2.15.2, which 2.9.10 shares.

use super::error::{Problem, check_address, check_chars, check_len};
use super::macros::validated_name;

/// The store keeps a subject's length in 16 bits.
const SUBJECT_MAX: usize = 65_535;

validated_name! {
    /// The name of a JetStream stream: a KV bucket's is `KV_…`, an object store's `OBJ_…`.
    ///
    /// Exactly what the server accepts. That includes control characters other than tab, line feed,
    /// form feed and carriage return, and all of Unicode, so a name is not fit for a file name or a
    /// terminal until it is escaped.
    StreamName {
        kind: "stream name",
        rule: "a stream name is 1 to 255 bytes without spaces, tabs, line ends, `.`, `*`, `>`, `/` or `\\`",
        len: 1..=255,
        pattern: r"^[^ \t\r\n\f.*>\\/]+$",
        check: check_stream,
    }
}

validated_name! {
    /// The name of a JetStream consumer, durable or not.
    ///
    /// The characters are a [`StreamName`]'s. The server holds to 255 bytes only where the name becomes
    /// a directory: a consumer that it keeps in memory may have a longer one. The limit here is that
    /// of a subject, of which the name becomes a token.
    ConsumerName {
        kind: "consumer name",
        rule: "a consumer name is 1 to 65535 bytes without spaces, tabs, line ends, `.`, `*`, `>`, `/` or `\\`",
        len: 1..=SUBJECT_MAX,
        pattern: r"^[^ \t\r\n\f.*>\\/]+$",
        check: check_consumer,
    }
}

validated_name! {
    /// The name of a stream or bucket that people declare, a bucket's without the `KV_` or `OBJ_`
    /// of its stream. Stricter than a [`StreamName`]: fit for file names, subjects and terminals.
    StoreName {
        kind: "name of a stream or bucket",
        rule: "the name of a declared stream or bucket is 1 to 251 letters, digits, `_` and `-`",
        len: 1..=251,
        pattern: "^[A-Za-z0-9_-]+$",
        check: check_store,
    }
}

validated_name! {
    /// Names of declared streams, in which `*` stands for any text.
    StreamGlob {
        kind: "glob of stream names",
        rule: "a glob of stream names is 1 to 255 letters, digits, `_`, `-` and `*`",
        len: 1..=255,
        pattern: "^[A-Za-z0-9_*-]+$",
        check: check_glob,
    }
}

validated_name! {
    /// A subject to publish on: no wildcards.
    ///
    /// Stricter than the server in three ways. It is UTF-8, as JSON needs. It is at most 65,535 bytes,
    /// which is what the store can hold (a server's `max_control_line`, 4,096 by default, is usually
    /// the lower limit). And it is checked: a server checks the subjects of clients in pedantic mode
    /// only, so a stream on `a.>` may hold messages whose subjects are `a.*`, `a.>`, `a.` and a form
    /// feed, or no UTF-8. Keep the subjects of *stored* messages as bytes, and match them with
    /// [`SubjectFilter::matches_bytes`].
    Subject {
        kind: "subject",
        rule: "a subject is 1 to 65535 bytes of non-empty tokens between `.`, without spaces, tabs, line ends or wildcards",
        len: 1..=SUBJECT_MAX,
        pattern: r"^[^ \t\r\n\f.]+(\.[^ \t\r\n\f.]+)*$",
        check: check_subject,
    }
}

validated_name! {
    /// A subject in which a token may be `*` (any one token) and the last `>` (any one or more).
    ///
    /// What the server accepts for a stream's subjects, a consumer's filters and a subscription, but
    /// for the length and the encoding, which are a [`Subject`]'s. A `*` or `>` within a longer token
    /// is an ordinary character.
    SubjectFilter {
        kind: "subject filter",
        rule: "a subject filter is 1 to 65535 bytes of non-empty tokens between `.`, without spaces, tabs or line ends, `>` last if at all",
        len: 1..=SUBJECT_MAX,
        pattern: r"^[^ \t\r\n\f.]+(\.[^ \t\r\n\f.]+)*$",
        check: check_filter,
    }
}

validated_name! {
    /// Where one NATS server listens for leaf nodes.
    NatsUrl {
        kind: "NATS URL",
        rule: "the URL of a NATS server is `tls://` or `nats://`, a host in lowercase, `:` and a port",
        len: 9..=300,
        pattern: "^(nats|tls)://[a-z0-9]([a-z0-9.-]*[a-z0-9])?:[1-9][0-9]{0,4}$",
        check: check_url,
    }
}

impl Subject {
    /// Returns the parts between the dots, in order; there is at least one.
    pub fn tokens(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }
}

impl SubjectFilter {
    /// Returns the filter that matches every subject, `>`.
    pub fn all() -> Self {
        Self(">".to_owned())
    }

    /// Returns the parts between the dots, in order; there is at least one.
    pub fn tokens(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }

    /// Reports whether no token is a wildcard, so that the filter matches one subject only.
    pub fn is_literal(&self) -> bool {
        !self.tokens().any(is_wildcard)
    }

    /// Reports whether some subject matches both filters; two streams may not overlap.
    pub fn overlaps(&self, other: &Self) -> bool {
        let (mut ours, mut theirs) = (self.tokens(), other.tokens());
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) | (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
                (Some(a), Some(b)) if a == b || a == "*" || b == "*" => {}
                _ => return false,
            }
        }
    }

    /// Reports whether the filter matches `subject`.
    pub fn matches(&self, subject: &Subject) -> bool {
        self.matches_bytes(subject.0.as_bytes())
    }

    /// Does the same for the subject of a stored message, which need not be a valid [`Subject`].
    ///
    /// A subject with an empty token matches no filter, as in the server. A wildcard *in the subject*
    /// is an ordinary token.
    pub fn matches_bytes(&self, subject: &[u8]) -> bool {
        let mut filter = self.0.as_bytes().split(|&b| b == b'.');
        let mut matched = true;
        let mut rest = false;
        for token in subject.split(|&b| b == b'.') {
            if token.is_empty() {
                return false;
            }
            if rest || !matched {
                continue;
            }
            match filter.next() {
                Some(b">") => rest = true,
                Some(b"*") => {}
                Some(wanted) => matched = wanted == token,
                None => matched = false,
            }
        }
        matched && (rest || filter.next().is_none())
    }
}

impl From<Subject> for SubjectFilter {
    fn from(subject: Subject) -> Self {
        Self(subject.0)
    }
}

fn check_stream(value: &str) -> Result<(), Problem> {
    check_len(value, 1, StreamName::MAX_LEN)?;
    check_asset_chars(value)
}

fn check_consumer(value: &str) -> Result<(), Problem> {
    check_len(value, 1, ConsumerName::MAX_LEN)?;
    check_asset_chars(value)
}

fn check_url(value: &str) -> Result<(), Problem> {
    check_len(value, 9, NatsUrl::MAX_LEN)?;
    check_address(value, &["nats://", "tls://"])?;
    // The scheme has the first colon, the port the second.
    if value.matches(':').count() < 2 {
        return Err(Problem::Shape("has no port"));
    }
    Ok(())
}

fn check_glob(value: &str) -> Result<(), Problem> {
    check_len(value, 1, StreamGlob::MAX_LEN)?;
    check_chars(value, |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '*'))
}

fn check_store(value: &str) -> Result<(), Problem> {
    check_len(value, 1, StoreName::MAX_LEN)?;
    check_chars(value, |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

fn check_asset_chars(value: &str) -> Result<(), Problem> {
    check_chars(value, |c| {
        !matches!(c, ' ' | '\t' | '\r' | '\n' | '\x0c' | '.' | '*' | '>' | '\\' | '/')
    })
}

fn check_filter(value: &str) -> Result<(), Problem> {
    check_len(value, 1, SUBJECT_MAX)?;
    check_chars(value, |c| !matches!(c, ' ' | '\t' | '\r' | '\n' | '\x0c'))?;
    let mut rest = false;
    for token in value.split('.') {
        if rest {
            return Err(Problem::Shape("has a token after `>`"));
        }
        if token.is_empty() {
            return Err(Problem::Shape("has an empty token"));
        }
        rest = token == ">";
    }
    Ok(())
}

fn check_subject(value: &str) -> Result<(), Problem> {
    check_filter(value)?;
    if value.split('.').any(is_wildcard) {
        return Err(Problem::Shape("has a wildcard"));
    }
    Ok(())
}

fn is_wildcard(token: &str) -> bool {
    matches!(token, "*" | ">")
}
