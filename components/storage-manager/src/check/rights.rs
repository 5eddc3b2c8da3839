//! What a NATS user may do: the server says it of each thing that is tried, and what is tried here does nothing.
//!
//! Requests have no body, which the API refuses, or name what there is not.

use std::fmt;

use cim_core::archive::anchor;

use super::inbox::instead;
use crate::config::{Config, StreamMatcher};
use crate::wire::{self, WireError};

/// The purpose of a right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing is archived without it.
    Tiering,
    /// Streams with the retention `interest`.
    Interest,
    /// Consumers, by what they know of single messages.
    Deliveries,
    /// A second manager that stands by.
    Standby,
    /// Whose streams these are, in a bucket that several hosts share.
    Account,
    /// `restore`.
    Restore,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tiering => "tiering",
            Self::Interest => "streams with retention `interest`",
            Self::Deliveries => "what consumers have pending or given up",
            Self::Standby => "a second manager that stands by",
            Self::Account => "telling accounts apart",
            Self::Restore => "`restore`",
        })
    }
}

/// Something that a user may be allowed to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Right {
    /// Its purpose.
    pub need: Need,
    verb: Verb,
    /// The subject to allow, as a server's configuration has it.
    pub subject: String,
    /// One that it matches, for a try.
    tried: String,
    of_a_stream: bool,
    /// An alternative, in words.
    instead: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Publish,
    Subscribe,
}

/// Returns in words what to allow: ``publish `a`, `b` and subscribe to `c` ``.
pub(super) fn listed(rights: &[&Right]) -> String {
    let of = |verb, words: &str| {
        let named = rights.iter().filter(|right| right.verb == verb);
        let subjects: Vec<_> = named.map(|right| format!("`{}`", right.subject)).collect();
        (!subjects.is_empty()).then(|| format!("{words} {}", subjects.join(", ")))
    };
    let both = [of(Verb::Publish, "publish"), of(Verb::Subscribe, "subscribe to")];
    both.into_iter().flatten().collect::<Vec<_>>().join(" and ")
}

/// Returns in words what to allow the user to do, or what would do as well.
pub(super) fn allow(rights: &[&Right]) -> String {
    let instead = rights.iter().find_map(|right| right.instead.as_ref());
    let or = instead.map(|instead| format!(", or {instead}")).unwrap_or_default();
    format!("allow the NATS user to {}{or}", listed(rights))
}

/// A name that nothing has.
const NONE: &str = "CIM_CHECK";

/// Returns every right there is a use for. Those to ask for a stream are tried with this one, for a user may be
/// allowed to ask for some alone; without one they are left out.
pub(super) fn all(config: &Config, stream: Option<&str>) -> Vec<Right> {
    let mut all = with(config, stream.unwrap_or(NONE));
    all.retain(|right| stream.is_some() || !right.of_a_stream);
    if config.consumers.every.is_zero() {
        all.retain(|right| right.need != Need::Deliveries);
    }
    all
}

fn with(config: &Config, stream: &str) -> Vec<Right> {
    use Need::{Account, Deliveries, Interest, Restore, Standby, Tiering};

    let keeper = anchor(config.secondary.bucket.as_str());
    let lead = format!("cim.service.storage.journal.{}", config.archive.journal);
    let inbox = &config.nats.inbox_prefix;
    let right = |need, verb, subject: &str, tried: String| Right {
        need,
        verb,
        subject: subject.into(),
        tried,
        of_a_stream: false,
        instead: None,
    };
    let publish = |need, subject: &str, tried: String| right(need, Verb::Publish, subject, tried);
    let api = |need, what: &str, tried: &str| {
        publish(need, &format!("$JS.API.{what}"), format!("$JS.API.{tried}"))
    };
    let of = |need, verb: &str, rest: &str| {
        let wild = if rest.is_empty() { "" } else { ".*" };
        let right = api(need, &format!("{verb}.*{wild}"), &format!("{verb}.{stream}{rest}"));
        Right { of_a_stream: true, ..right }
    };
    vec![
        right(Tiering, Verb::Subscribe, &format!("{inbox}.>"), format!("{inbox}.{NONE}.*")),
        api(Tiering, "STREAM.NAMES", "STREAM.NAMES"),
        api(Tiering, "STREAM.LIST", "STREAM.LIST"),
        of(Tiering, "STREAM.INFO", ""),
        of(Tiering, "STREAM.MSG.GET", ""),
        of(Tiering, "CONSUMER.LIST", ""),
        of(Tiering, "CONSUMER.CREATE", ""),
        of(Tiering, "CONSUMER.INFO", ".CIM_CHECK"),
        of(Tiering, "CONSUMER.MSG.NEXT", ".CIM_CHECK"),
        of(Tiering, "CONSUMER.DELETE", ".CIM_CHECK"),
        api(
            Interest,
            &format!("CONSUMER.DURABLE.CREATE.*.{keeper}"),
            &format!("CONSUMER.DURABLE.CREATE.{NONE}.{keeper}"),
        ),
        publish(
            Interest,
            &format!("$JS.ACK.*.{keeper}.>"),
            format!("$JS.ACK.{NONE}.{keeper}.1.1.1.1.1"),
        ),
        publish(
            Interest,
            &format!("$JS.ACK.*.*.*.{keeper}.>"),
            format!("$JS.ACK._.{NONE}.{NONE}.{keeper}.1.1.1.1.1"),
        ),
        of(Deliveries, "STREAM.SNAPSHOT", ""),
        publish(Standby, &lead, lead.clone()),
        right(Standby, Verb::Subscribe, &lead, lead.clone()),
        publish(Account, "$SYS.REQ.USER.INFO", "$SYS.REQ.USER.INFO".into()),
        api(Restore, "INFO", "INFO"),
        api(Restore, "STREAM.RESTORE.*", "STREAM.RESTORE.CIM_CHECK"),
        publish(Restore, "$JS.SNAPSHOT.RESTORE.*.*", "$JS.SNAPSHOT.RESTORE.CIM_CHECK.none".into()),
    ]
}

/// Returns the names of the streams, and the rights that the user of the configuration lacks; where it may not even
/// ask for the names, of all.
///
/// # Errors
/// The server cannot be reached, or refuses the login.
pub async fn missing_rights<E: From<WireError>>(
    config: &Config,
    matcher: &StreamMatcher,
    names: impl AsyncFnOnce() -> Result<Vec<String>, E>,
) -> Result<(Vec<String>, Vec<Right>), E> {
    let first = missing(config, all(config, None)).await?;
    if first.iter().any(Right::is_to_ask_at_all) {
        let mut lacking = missing(config, all(config, Some(NONE))).await?;
        if let Some(inbox) = lacking.iter_mut().find(|right| right.is_inbox()) {
            inbox.instead = Some(instead(config).await?);
        }
        return Ok((Vec::new(), lacking));
    }
    let names = names().await?;
    let lacking = match names.iter().find(|name| matcher.matches(name)) {
        Some(stream) => missing(config, all(config, Some(stream))).await?,
        None => first,
    };
    Ok((names, lacking))
}

/// Returns the right to hear answers, where the user lacks it.
pub(super) async fn inbox(config: &Config) -> Result<Vec<Right>, WireError> {
    let mut rights = all(config, None);
    rights.retain(Right::is_inbox);
    let mut lacking = missing(config, rights).await?;
    for inbox in &mut lacking {
        inbox.instead = Some(instead(config).await?);
    }
    Ok(lacking)
}

/// Returns those of some rights that the user lacks.
async fn missing(config: &Config, all: Vec<Right>) -> Result<Vec<Right>, WireError> {
    let inbox = format!("{}.{NONE}.{}", config.nats.inbox_prefix, uuid::Uuid::now_v7().simple());
    let lines = all.iter().enumerate().map(|(sid, Right { verb, tried, .. })| match verb {
        Verb::Subscribe => format!("SUB {tried} {sid}\r\nUNSUB {sid}\r\n"),
        Verb::Publish => format!("PUB {tried} {inbox} 0\r\n\r\n"),
    });
    let lines: String = lines.collect();
    let refusals = wire::refusals(&config.nats, &lines).await?;
    Ok(all.into_iter().filter(|right| refusals.iter().any(|said| right.is_what(said))).collect())
}

impl Right {
    /// Returns true if without it not even the names of streams can be asked for.
    fn is_to_ask_at_all(&self) -> bool {
        self.is_inbox() || self.subject == "$JS.API.STREAM.NAMES"
    }

    /// Returns whether it is the one to hear answers.
    fn is_inbox(&self) -> bool {
        self.verb == Verb::Subscribe && self.need == Need::Tiering
    }

    /// Returns true if a server's refusal is of this right: `Permissions Violation for Publish to "a.b"`.
    fn is_what(&self, refusal: &str) -> bool {
        let verb = match self.verb {
            Verb::Publish => "publish",
            Verb::Subscribe => "subscription",
        };
        refusal.to_ascii_lowercase().contains(verb)
            && refusal.contains(&format!("\"{}\"", self.tried))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Returns true if a subject to allow is one of a list, or is covered by one.
    fn covers(allowed: &str, subject: &str) -> bool {
        let mut wanted = subject.split('.');
        for token in allowed.split('.') {
            match (token, wanted.next()) {
                (">", Some(_)) => return true,
                ("*", Some(token)) if token != ">" => {}
                (token, Some(wanted)) if token == wanted => {}
                _ => return false,
            }
        }
        wanted.next().is_none()
    }

    /// The rights asked for here are those that the modules give the storage manager.
    #[test]
    fn what_is_rendered_has_all_rights() {
        let root =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/rendered/example/host/etc");
        let config = Config::load(&root.join("cim/storage-manager.toml")).unwrap();
        let server = std::fs::read_to_string(root.join("nats-server.conf")).unwrap();
        let quoted: Vec<&str> = server.split('"').skip(1).step_by(2).collect();
        for right in all(&config, Some("ANY")) {
            let is_there = quoted.iter().any(|allowed| covers(allowed, &right.subject));
            assert!(is_there, "{right:?}");
        }
    }

    #[test]
    fn a_refusal_is_of_one_right() {
        let config = "[nats]\nurl = \"nats://h\"\n[secondary]\nendpoint = \"http://h\"\nbucket = \"archive\"\ncredentials_file = \"f\"\n";
        let config = cim_runtime::config::parse(Path::new("c"), config).unwrap();
        let all = all(&config, Some("S"));
        for said in [
            "'Permissions Violation for Publish to \"$JS.API.CONSUMER.CREATE.S\"'",
            "'Permissions Violation for Subscription to \"cim.service.storage.journal.main\"'",
        ] {
            let found: Vec<_> = all.iter().filter(|right| right.is_what(said)).collect();
            assert_eq!(found.len(), 1, "{said}: {found:?}");
        }
    }
}
