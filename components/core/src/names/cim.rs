//! Names that CIM itself gives.

use super::error::{Problem, check_chars, check_len};
use super::macros::validated_name;

/// The most bytes of a token of CIM's subjects.
const TOKEN_MAX: usize = 63;

validated_name! {
    /// The name of a node: the host, the NAS, a leaf node, a container.
    ///
    /// A lowercase DNS label, so it serves as a host name, as the name of a NixOS container (which
    /// refuses `_`) and as a token of a subject alike.
    NodeName {
        kind: "node name",
        rule: "a node name is 1 to 63 lowercase letters, digits and `-`, and begins and ends with a letter or digit",
        len: 1..=63,
        pattern: "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
        check: check_node,
    }
}

validated_name! {
    /// The name of a journal of the archive: one storage manager's share of a bucket.
    ///
    /// It is a part of keys, so it is kept to what needs no escaping anywhere.
    JournalName {
        kind: "journal name",
        rule: "a journal name is 1 to 63 letters, digits, `_` and `-`",
        len: 1..=63,
        pattern: "^[A-Za-z0-9_-]+$",
        check: check_journal,
    }
}

validated_name! {
    /// One token of CIM's subjects: a resource, an action or an operation.
    ///
    /// Stricter than NATS, so that each thing has one spelling: `status_changed`, neither
    /// `statusChanged` nor `status-changed`.
    Token {
        kind: "subject token",
        rule: "a subject token is 1 to 63 lowercase letters, digits and `_`, and begins with a letter",
        len: 1..=TOKEN_MAX,
        pattern: "^[a-z][a-z0-9_]*$",
        check: check_token,
    }
}

validated_name! {
    /// The type of an event: what it happened to and what happened, as in `unit.created`.
    ///
    /// It is the end of the event's subject, `cim.event.<component>.<resource>.<action>`.
    EventType {
        kind: "event type",
        rule: "an event type is `<resource>.<action>`, each 1 to 63 lowercase letters, digits and `_` that begin with a letter",
        len: 3..=(2 * TOKEN_MAX + 1),
        pattern: r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$",
        check: check_event_type,
    }
}

validated_name! {
    /// What an event happened to, as its component names it: a UUID, a content id, a path.
    ///
    /// Opaque: components choose the form. Control characters are refused, for ids end up in logs.
    AggregateId {
        kind: "aggregate id",
        rule: "an aggregate id is 1 to 255 bytes of UTF-8 without control characters",
        len: 1..=255,
        pattern: r"^[^\x00-\x1f\x7f-\x9f]+$",
        check: check_aggregate,
    }
}

impl EventType {
    /// Returns the type of an event in which `action` happened to `resource`.
    pub fn of(resource: &Token, action: &Token) -> Self {
        Self(format!("{resource}.{action}"))
    }

    /// Returns the resource that the event happened to.
    pub fn resource(&self) -> Token {
        Token(self.parts().0.to_owned())
    }

    /// Returns the action.
    pub fn action(&self) -> Token {
        Token(self.parts().1.to_owned())
    }

    fn parts(&self) -> (&str, &str) {
        self.0.split_once('.').unwrap_or((&self.0, ""))
    }
}

fn check_node(value: &str) -> Result<(), Problem> {
    check_len(value, 1, NodeName::MAX_LEN)?;
    check_chars(value, |c| matches!(c, 'a'..='z' | '0'..='9' | '-'))?;
    if value.starts_with('-') || value.ends_with('-') {
        return Err(Problem::Shape("begins or ends with `-`"));
    }
    Ok(())
}

fn check_journal(value: &str) -> Result<(), Problem> {
    check_len(value, 1, JournalName::MAX_LEN)?;
    check_chars(value, |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

fn check_token(value: &str) -> Result<(), Problem> {
    check_len(value, 1, TOKEN_MAX)?;
    check_chars(value, |c| matches!(c, 'a'..='z' | '0'..='9' | '_'))?;
    if !value.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err(Problem::Shape("does not begin with a letter"));
    }
    Ok(())
}

fn check_event_type(value: &str) -> Result<(), Problem> {
    check_len(value, 3, EventType::MAX_LEN)?;
    match value.split_once('.') {
        None => Err(Problem::Shape("has no `.`")),
        Some((_, action)) if action.contains('.') => Err(Problem::Shape("has more than one `.`")),
        Some((resource, action)) => {
            check_token(resource)?;
            // Offsets count from the start of the whole value.
            check_token(action).map_err(|problem| match problem {
                Problem::Character { found, at } => {
                    Problem::Character { found, at: resource.len() + 1 + at }
                }
                other => other,
            })
        }
    }
}

fn check_aggregate(value: &str) -> Result<(), Problem> {
    check_len(value, 1, AggregateId::MAX_LEN)?;
    check_chars(value, |c| !c.is_control())
}
