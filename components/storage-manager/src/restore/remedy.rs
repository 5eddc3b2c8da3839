//! What to do about a stream that was not restored: one short sentence, with the command to type.

use cim_core::names::StreamName;

use super::error::{RestoreError, SendError};
use crate::jetstream::ApiError;
use crate::s3::Tier;

/// JetStream's errors that have a way out of their own.
mod code {
    /// There is no room on the servers, or the account has none on disk.
    pub(super) const NO_ROOM: [u64; 3] = [10_002, 10_023, 10_047];
    /// The account has no room in memory.
    pub(super) const NO_MEMORY: u64 = 10_028;
    /// The account has as many streams as it may.
    pub(super) const STREAMS: u64 = 10_027;
    /// Not as many servers as replicas.
    pub(super) const NO_PEERS: u64 = 10_005;
    /// Subjects that another stream has.
    pub(super) const OVERLAP: u64 = 10_065;
    /// The fault of a snapshot.
    pub(super) const SNAPSHOT: u64 = 10_062;
    /// A stream that exists, as two answers say it.
    pub(super) const EXISTS: [u64; 2] = [10_058, 10_130];
}

/// The parts of the command that restores a stream.
#[derive(Debug, Clone, Copy)]
pub struct RetryCommand {
    /// The tier that was read.
    pub from: Tier,
    /// The other one, where there is one.
    pub other: Option<Tier>,
}

impl RetryCommand {
    /// Returns the command that restores a stream under a name with more arguments.
    fn command(self, stream: &StreamName, target: &StreamName, more: &str) -> String {
        let from = if self.from == Tier::Nas { "" } else { " --from wasabi" };
        let name = if stream == target { String::new() } else { format!(" --as {target}") };
        format!("`cim-storage-manager restore {stream}{from}{name} {more}`")
    }
}

impl RestoreError {
    /// Returns what to do about a stream that was to be restored under a name.
    pub fn remedy(
        &self,
        stream: &StreamName,
        target: &StreamName,
        retry: RetryCommand,
    ) -> Option<String> {
        let out = match self {
            Self::Empty(_) => format!("delete it (`nats stream rm {target}`) and restore again"),
            Self::Exists { .. } => exists(stream, target, retry),
            Self::Missing { first_seq, .. } => damaged(stream, target, retry, Some(*first_seq)),
            Self::Segment(_) => damaged(stream, target, retry, None),
            Self::S3(error) if error.kind.is_damage() => damaged(stream, target, retry, None),
            Self::Archive(_) if self.is_of_one_stream() => match retry.other {
                Some(other) => {
                    format!("`cim-storage-manager restore {stream} --from {}`", other.id())
                }
                None => "put the object back from a copy and restore again".into(),
            },
            Self::Locked { locked, .. } => format!("{} and restore again", locked.way_out()),
            Self::MemoryOnOldServer(_) => "use nats-server 2.15 or newer".into(),
            Self::TooNew { needs, .. } => {
                format!("use a nats-server with level {needs} (`nats account info` shows it)")
            }
            Self::Unknown { since: (major, minor), .. } => {
                format!("use nats-server {major}.{minor} or newer")
            }
            Self::Shorn { kept: false, .. } => "restore it onto a newer nats-server".into(),
            Self::Shorn { kept: true, .. } => format!(
                "delete it (`nats stream rm {target}`) and restore it onto a newer nats-server"
            ),
            Self::Alone(_) => retry.command(stream, target, "--replicas 1"),
            Self::Overlaps { other, .. } => overlaps(stream, target, other, retry),
            Self::TooLarge { limit, seq, .. } => {
                too_large(stream, target, limit, Some(*seq), retry)
            }
            Self::Unencodable(error) => {
                too_large(stream, target, "snapshot", Some(error.seq), retry)
            }
            Self::NoRoom { limit, .. } => {
                format!("raise `{limit}` of the account and restore again")
            }
            Self::Differs { .. } => {
                format!("compare it (`nats stream info {target}`), and report this")
            }
            Self::Api(error) | Self::Send(SendError::Api(error)) => {
                return refused(error, stream, target, retry);
            }
            Self::Interrupted(_) => "restore again".into(),
            Self::Archive(_) | Self::S3(_) | Self::Send(_) | Self::SnapshotTruncated(_) => {
                return None;
            }
        };
        Some(out)
    }
}

fn exists(stream: &StreamName, target: &StreamName, retry: RetryCommand) -> String {
    let beside = retry.command(stream, stream, &format!("--as {target}_OLD --subjects 'old.>'"));
    format!(
        "delete it (`nats stream rm {target}`) and restore again, or restore beside it: {beside}"
    )
}

fn damaged(
    stream: &StreamName,
    target: &StreamName,
    retry: RetryCommand,
    first_seq: Option<u64>,
) -> String {
    if let Some(other) = retry.other {
        return format!("`cim-storage-manager restore {stream} --from {}`", other.id());
    }
    match first_seq {
        Some(first) if first > 1 => {
            let before = retry.command(stream, target, &format!("--until-seq {}", first - 1));
            format!("put the object back from a copy, or restore what is before it: {before}")
        }
        _ => "put the object back from a copy and restore again".into(),
    }
}

fn overlaps(stream: &StreamName, target: &StreamName, other: &str, retry: RetryCommand) -> String {
    let subjects = retry.command(stream, target, "--subjects 'other.>'");
    format!(
        "give `{other}` other subjects (`nats stream edit {other} --subjects …`) and restore again, or {subjects}"
    )
}

fn too_large(
    stream: &StreamName,
    target: &StreamName,
    limit: &str,
    seq: Option<u64>,
    retry: RetryCommand,
) -> String {
    let before = seq.map_or_else(|| "N".to_owned(), |seq| seq.saturating_sub(1).to_string());
    let before = retry.command(stream, target, &format!("--until-seq {before}"));
    if limit == "max_payload" {
        format!(
            "raise `max_payload` in nats-server's configuration and restore again, or restore what is before the message: {before}"
        )
    } else {
        format!("restore what is before the message: {before}")
    }
}

/// Returns what to do about what the server itself refused.
fn refused(
    error: &ApiError,
    stream: &StreamName,
    target: &StreamName,
    retry: RetryCommand,
) -> Option<String> {
    let ApiError::Refused { err_code, description, .. } = error else { return None };
    let out = match *err_code {
        code if code::EXISTS.contains(&code) => exists(stream, target, retry),
        code::OVERLAP => {
            let subjects = retry.command(stream, target, "--subjects 'other.>'");
            format!(
                "take the subject from the stream that has it (`nats stream subjects` and `nats stream ls` show which) and restore again, or {subjects}"
            )
        }
        code::NO_MEMORY => "give JetStream more memory (`max_mem`) and restore again".into(),
        code if code::NO_ROOM.contains(&code) => {
            "give JetStream more room (`max_file` of the server and of the account) and restore again".into()
        }
        code::STREAMS => "raise `max_streams` of the account and restore again".into(),
        code::NO_PEERS => retry.command(stream, target, "--replicas 1"),
        code::SNAPSHOT if description.contains("maximum payload") => {
            too_large(stream, target, "max_payload", None, retry)
        }
        code::SNAPSHOT if description.contains("maximum message size") => {
            too_large(stream, target, "max_msg_size", None, retry)
        }
        _ => "nats-server's log may say more; mend it and restore again".into(),
    };
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(error: &RestoreError, other: Option<Tier>) -> String {
        let (stream, target) = ("S".parse().unwrap(), "T".parse().unwrap());
        let retry = RetryCommand { from: other.map_or(Tier::Nas, Tier::other), other };
        error.remedy(&stream, &target, retry).unwrap_or_default()
    }

    #[test]
    fn what_is_to_be_typed_is_whole() {
        let key = "k".to_owned();
        let missing =
            |first_seq| RestoreError::Missing { key: key.clone(), first_seq, tier: Tier::Nas };
        let exists = RestoreError::Exists { stream: "T".into(), how: String::new() };
        let lines = [
            shown(&missing(41), None),
            shown(&missing(1), None),
            shown(&missing(41), Some(Tier::Wasabi)),
            shown(&missing(41), Some(Tier::Nas)),
            shown(&exists, None),
            shown(&RestoreError::Alone("T".into()), Some(Tier::Nas)),
            shown(&RestoreError::Interrupted("T".into()), None),
        ];
        insta::assert_snapshot!(lines.join("\n"), @"
        put the object back from a copy, or restore what is before it: `cim-storage-manager restore S --as T --until-seq 40`
        put the object back from a copy and restore again
        `cim-storage-manager restore S --from wasabi`
        `cim-storage-manager restore S --from nas`
        delete it (`nats stream rm T`) and restore again, or restore beside it: `cim-storage-manager restore S --as T_OLD --subjects 'old.>'`
        `cim-storage-manager restore S --from wasabi --as T --replicas 1`
        restore again
        ");
    }
}
