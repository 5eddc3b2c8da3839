//! Every key that the archive uses, in one place. Their meaning never changes.

use std::collections::BTreeSet;
use std::fmt;

use crate::archive::Sha256;
use crate::names::{JournalName, StreamName};

/// The number of manifest entries in one group; the first of a group is a checkpoint.
pub const GROUP: u64 = 256;

/// The prefix under which every stream's archive lies.
pub const STREAMS: &str = "v1/streams/";

/// The tier that a journal belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JournalOf {
    /// The NAS's.
    Secondary,
    /// Wasabi's, which lies on the NAS too, where it is decided first.
    Tertiary,
}

impl JournalOf {
    /// Returns the prefix of all journals of this tier.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Secondary => "v2/journal/",
            Self::Tertiary => "v2/tertiary/",
        }
    }

    /// Returns the prefix of a journal's entries.
    pub fn entries(self, journal: &JournalName) -> String {
        format!("{}{journal}/entries/", self.prefix())
    }

    /// Returns the prefix of a journal's checkpoints.
    pub fn checkpoints(self, journal: &JournalName) -> String {
        format!("{}{journal}/checkpoints/", self.prefix())
    }

    /// Returns the journal that a common prefix below [`JournalOf::prefix`] belongs to, if it is one.
    pub fn of_prefix(self, prefix: &str) -> Option<JournalName> {
        JournalName::new(prefix.strip_prefix(self.prefix())?.trim_end_matches('/')).ok()
    }
}

/// An object of the archive.
///
/// | variant | value | lifetime |
/// |---|---|---|
/// | `Segment` | Parquet file of messages | until a sealed segment replaced it and the grace period passed; sealed ones for ever |
/// | `Manifest` | one commit, JSON | for ever |
/// | `Tertiary` | on the NAS only: the commit that will lie at Wasabi as `Manifest`, decided here first | for ever |
/// | `Journal` | Parquet file: fresh messages of all streams, with one commit in its metadata | until its messages are merged into others, a checkpoint is behind it, and the grace period has passed |
/// | `Checkpoint` | what the entries of a journal add up to, JSON, zstd | until a later one is as old as the grace period |
/// | `Shared` | Parquet file: merged messages of several streams | until its messages are merged into others and the grace period has passed |
/// | `Probe` | a few bytes, written at start to learn what the service honours | deleted at once, where that is allowed |
///
/// A stream's name is written with every byte outside `A-Z a-z 0-9 _ -` as `~` and two uppercase
/// hex digits, so that no key needs escaping in a URL. Numbers have leading zeros, so that the
/// order of keys is the order of numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchiveKey {
    /// `v1/streams/<stream>/segments/<timeline>/<first>-<last>-<hash>.parquet`
    Segment {
        /// The stream.
        stream: StreamName,
        /// The timeline it was written in.
        timeline: u32,
        /// Sequence of its first message.
        first_seq: u64,
        /// Sequence of its last message.
        last_seq: u64,
        /// First 16 hex digits of the file's SHA-256.
        hash: String,
    },
    /// `v1/streams/<stream>/manifest/<group>/<number>.json`
    Manifest {
        /// The stream.
        stream: StreamName,
        /// The entry's number.
        number: u64,
    },
    /// `v1/streams/<stream>/tertiary/<group>/<number>.json`
    Tertiary {
        /// The stream.
        stream: StreamName,
        /// The entry's number.
        number: u64,
    },
    /// `v2/journal/<journal>/entries/<number>.parquet`, of Wasabi's `v2/tertiary/…`
    Journal {
        /// The tier.
        of: JournalOf,
        /// The journal.
        journal: JournalName,
        /// The entry's number.
        number: u64,
    },
    /// `v2/journal/<journal>/checkpoints/<number>.json.zst`, of Wasabi's `v2/tertiary/…`
    Checkpoint {
        /// The tier.
        of: JournalOf,
        /// The journal.
        journal: JournalName,
        /// The number of the last entry that is in it.
        number: u64,
    },
    /// `v2/journal/<journal>/shared/<level>/<number>-<hash>.parquet`, of Wasabi's `v2/tertiary/…`
    Shared {
        /// The tier that it was made for.
        of: JournalOf,
        /// The journal.
        journal: JournalName,
        /// The number of times its messages have been merged.
        level: u8,
        /// The number of the next entry when it was made: of one level, older objects have smaller ones.
        number: u64,
        /// First 16 hex digits of the file's SHA-256.
        hash: String,
    },
    /// `v1/probe/<id>`
    Probe {
        /// Unique to the probing process; at Wasabi the same each time.
        id: String,
    },
}

/// One of the two chains on the NAS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Chain {
    /// The tier's own manifest.
    Manifest,
    /// The tertiary tier's manifest, as decided on the NAS.
    Tertiary,
}

impl Chain {
    fn folder(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Tertiary => "tertiary",
        }
    }

    /// Returns the key of entry `number` in this chain.
    pub fn key(self, stream: &StreamName, number: u64) -> ArchiveKey {
        let stream = stream.clone();
        match self {
            Self::Manifest => ArchiveKey::Manifest { stream, number },
            Self::Tertiary => ArchiveKey::Tertiary { stream, number },
        }
    }

    /// Returns the prefix of all the chain's groups; list it with delimiter `/`.
    pub fn prefix(self, stream: &StreamName) -> String {
        format!("{STREAMS}{}/{}/", escape(stream.as_str()), self.folder())
    }

    /// Returns the prefix of one group.
    pub fn group_prefix(self, stream: &StreamName, group: u64) -> String {
        format!("{}{group:08}/", self.prefix(stream))
    }
}

/// A key that does not belong to the archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a key of the archive (format v1)")]
pub struct KeyError(String);

impl ArchiveKey {
    /// Returns the key of a segment with this hash.
    pub fn segment(
        stream: &StreamName,
        timeline: u32,
        first_seq: u64,
        last_seq: u64,
        sha256: &Sha256,
    ) -> Self {
        let (stream, hash) = (stream.clone(), sha256.short());
        Self::Segment { stream, timeline, first_seq, last_seq, hash }
    }

    /// Parses a key.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let is_spelled = |key: &Self| key.to_string() == text || key.in_one_folder() == text;
        parse(text).filter(is_spelled).ok_or_else(|| KeyError(text.into()))
    }

    /// Returns a segment's key as it was spelled before long names were divided; other keys unchanged.
    fn in_one_folder(&self) -> String {
        match self {
            Self::Segment { stream, .. } => {
                self.to_string().replacen(&segment_prefix(stream), &stream_prefix(stream), 1)
            }
            other => other.to_string(),
        }
    }
}

/// Returns the stream that a common prefix below [`STREAMS`] belongs to, if it is one.
pub fn stream_of_prefix(prefix: &str) -> Option<StreamName> {
    let escaped = prefix.strip_prefix(STREAMS)?.trim_end_matches('/');
    StreamName::new(unescape(escaped)?).ok()
}

/// Longest folder name of a key, in bytes: the limit of file systems, and so of most services.
const FOLDER: usize = 255;
/// Length of one part of a longer name, in characters. An escape, three characters at most, is never divided.
const PIECE: usize = 240;

/// Returns the prefix of a stream's segments. A name that is too long for one folder is divided among several; all
/// but the last end with a `~`, as no whole name does.
fn segment_prefix(stream: &StreamName) -> String {
    let escaped = escape(stream.as_str());
    if escaped.len() <= FOLDER {
        return format!("{STREAMS}{escaped}/");
    }
    let mut prefix = STREAMS.to_owned();
    let mut rest = &escaped[..];
    while rest.len() > PIECE {
        let whole = |at: &usize| !rest[at.saturating_sub(2)..*at].contains('~');
        let at = (0..=PIECE).rev().find(whole).expect("an escape has three characters");
        let (piece, behind) = rest.split_at(at);
        prefix.push_str(piece);
        prefix.push_str("~/");
        rest = behind;
    }
    prefix + rest + "/"
}

/// Returns the prefixes that a stream's segments may have: a long name had another one before it was divided.
pub fn segment_prefixes(stream: &StreamName) -> BTreeSet<String> {
    let both = [segment_prefix(stream), stream_prefix(stream)];
    both.into_iter().map(|prefix| prefix + "segments/").collect()
}

/// Returns the prefix of all other objects of a stream's chain.
fn stream_prefix(stream: &StreamName) -> String {
    format!("{STREAMS}{}/", escape(stream.as_str()))
}

impl fmt::Display for ArchiveKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment { stream, timeline, first_seq, last_seq, hash } => write!(
                f,
                "{}segments/{timeline:04}/{first_seq:020}-{last_seq:020}-{hash}.parquet",
                segment_prefix(stream)
            ),
            Self::Manifest { stream, number } => entry_key(f, Chain::Manifest, stream, *number),
            Self::Tertiary { stream, number } => entry_key(f, Chain::Tertiary, stream, *number),
            Self::Journal { of, journal, number } => {
                write!(f, "{}{number:012}.parquet", of.entries(journal))
            }
            Self::Checkpoint { of, journal, number } => {
                write!(f, "{}{number:012}.json.zst", of.checkpoints(journal))
            }
            Self::Shared { of, journal, level, number, hash } => {
                let prefix = of.prefix();
                write!(f, "{prefix}{journal}/shared/{level}/{number:012}-{hash}.parquet")
            }
            Self::Probe { id } => write!(f, "v1/probe/{id}"),
        }
    }
}

fn entry_key(f: &mut fmt::Formatter<'_>, chain: Chain, stream: &StreamName, n: u64) -> fmt::Result {
    write!(f, "{}{n:012}.json", chain.group_prefix(stream, n / GROUP))
}

fn parse(text: &str) -> Option<ArchiveKey> {
    if let Some(id) = text.strip_prefix("v1/probe/") {
        return Some(ArchiveKey::Probe { id: id.into() });
    }
    for of in [JournalOf::Secondary, JournalOf::Tertiary] {
        if let Some(rest) = text.strip_prefix(of.prefix()) {
            return parse_journal(of, rest);
        }
    }
    let parts: Vec<_> = text.strip_prefix(STREAMS)?.split('/').collect();
    let [pieces @ .., stream, kind, folder, file] = &parts[..] else { return None };
    let pieces: Option<String> = pieces.iter().map(|piece| piece.strip_suffix('~')).collect();
    let stream = StreamName::new(unescape(&(pieces? + stream))?).ok()?;
    if *kind == "segments" {
        let mut fields = file.strip_suffix(".parquet")?.splitn(3, '-');
        return Some(ArchiveKey::Segment {
            stream,
            timeline: folder.parse().ok()?,
            first_seq: fields.next()?.parse().ok()?,
            last_seq: fields.next()?.parse().ok()?,
            hash: fields.next()?.into(),
        });
    }
    let number = file.strip_suffix(".json")?.parse().ok()?;
    match *kind {
        "manifest" => Some(ArchiveKey::Manifest { stream, number }),
        "tertiary" => Some(ArchiveKey::Tertiary { stream, number }),
        _ => None,
    }
}

fn parse_journal(of: JournalOf, text: &str) -> Option<ArchiveKey> {
    let parts: Vec<_> = text.split('/').collect();
    let journal = JournalName::new(*parts.first()?).ok()?;
    match parts[1..] {
        ["entries", file] => {
            let number = file.strip_suffix(".parquet")?.parse().ok()?;
            Some(ArchiveKey::Journal { of, journal, number })
        }
        ["checkpoints", file] => {
            let number = file.strip_suffix(".json.zst")?.parse().ok()?;
            Some(ArchiveKey::Checkpoint { of, journal, number })
        }
        ["shared", level, file] => {
            let (number, hash) = file.strip_suffix(".parquet")?.split_once('-')?;
            let (level, number) = (level.parse().ok()?, number.parse().ok()?);
            Some(ArchiveKey::Shared { of, journal, level, number, hash: hash.into() })
        }
        _ => None,
    }
}

fn escape(name: &str) -> String {
    use fmt::Write as _;
    let mut escaped = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' {
            escaped.push(byte as char);
        } else {
            write!(escaped, "~{byte:02X}").expect("writing to a string does not fail");
        }
    }
    escaped
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'~' {
            let mut decoded = [0];
            hex::decode_to_slice(tail.get(..2)?, &mut decoded).ok()?;
            bytes.push(decoded[0]);
            rest = &tail[2..];
        } else {
            bytes.push(byte);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn journal() -> JournalName {
        JournalName::new("main").unwrap()
    }

    #[test]
    fn keys_are_spelled_as_documented() {
        let stream = StreamName::new("KV_größe").unwrap();
        let sha = Sha256::of(b"x");
        let of = JournalOf::Secondary;
        let keys = [
            ArchiveKey::segment(&stream, 1, 1, 500, &sha).to_string(),
            ArchiveKey::Manifest { stream: stream.clone(), number: 300 }.to_string(),
            ArchiveKey::Tertiary { stream, number: 0 }.to_string(),
            ArchiveKey::Journal { of, journal: journal(), number: 7 }.to_string(),
            ArchiveKey::Checkpoint { of: JournalOf::Tertiary, journal: journal(), number: 6 }
                .to_string(),
            ArchiveKey::Shared {
                of,
                journal: journal(),
                level: 2,
                number: 9,
                hash: "2d711642".into(),
            }
            .to_string(),
        ];
        insta::assert_snapshot!(keys.join("\n"), @"
        v1/streams/KV_gr~C3~B6~C3~9Fe/segments/0001/00000000000000000001-00000000000000000500-2d711642b726b044.parquet
        v1/streams/KV_gr~C3~B6~C3~9Fe/manifest/00000001/000000000300.json
        v1/streams/KV_gr~C3~B6~C3~9Fe/tertiary/00000000/000000000000.json
        v2/journal/main/entries/000000000007.parquet
        v2/tertiary/main/checkpoints/000000000006.json.zst
        v2/journal/main/shared/2/000000000009-2d711642.parquet
        ");
    }

    proptest! {
        #[test]
        fn long_names_are_divided_and_come_back(name in "[a-zö漢$~-]{1,255}") {
            let name: String = name.chars().scan(0, |length, c| {
                *length += c.len_utf8();
                (*length <= StreamName::MAX_LEN).then_some(c)
            }).collect();
            let stream = StreamName::new(name).unwrap();
            let key = ArchiveKey::segment(&stream, 1, 2, 3, &Sha256::of(b""));
            let text = key.to_string();
            prop_assert!(text.split('/').all(|folder| folder.len() <= FOLDER), "{text}");
            prop_assert!(text.len() < 1024);
            prop_assert_eq!(&ArchiveKey::parse(&text).unwrap(), &key);
            // The spelling of earlier versions.
            let before = text.replacen(&segment_prefix(&stream), &stream_prefix(&stream), 1);
            prop_assert_eq!(ArchiveKey::parse(&before).unwrap(), key);
            let folder = format!("{}/", text.split('/').take(3).collect::<Vec<_>>().join("/"));
            let is_whole = escape(stream.as_str()).len() <= FOLDER;
            prop_assert_eq!(stream_of_prefix(&folder), is_whole.then_some(stream));
        }

        #[test]
        fn keys_round_trip(name in "[a-zA-Z0-9_äß$%~-]{1,40}", n in any::<u64>(), m in any::<u64>(), t in any::<u32>()) {
            let stream = StreamName::new(name).unwrap();
            let of = if t % 2 == 0 { JournalOf::Secondary } else { JournalOf::Tertiary };
            let keys = [
                ArchiveKey::segment(&stream, t, n, m, &Sha256::of(b"")),
                ArchiveKey::Manifest { stream: stream.clone(), number: n },
                ArchiveKey::Tertiary { stream: stream.clone(), number: m },
                ArchiveKey::Journal { of, journal: journal(), number: n },
                ArchiveKey::Checkpoint { of, journal: journal(), number: m },
                ArchiveKey::Shared {
                    of,
                    journal: journal(),
                    level: 3,
                    number: n,
                    hash: Sha256::of(b"").short(),
                },
            ];
            for key in keys {
                prop_assert_eq!(ArchiveKey::parse(&key.to_string()), Ok(key));
            }
            prop_assert_eq!(stream_of_prefix(&stream_prefix(&stream)), Some(stream));
        }

        #[test]
        fn any_text_is_refused_or_reads_back(text in ".{0,80}|v1/streams/[a-z~/0-9.-]{0,60}|v2/journal/[a-z/0-9.]{0,60}") {
            if let Ok(key) = ArchiveKey::parse(&text) {
                prop_assert_eq!(key.to_string(), text);
            }
        }
    }
}
