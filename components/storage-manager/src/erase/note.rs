//! Signs notes of erasures, and checks them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cim_core::archive::RawJson;
use cim_core::archive::journal::{Erasure, ErasureNote};
use cim_runtime::nats::Nkey;
use nkeys::KeyPair;

/// A note that is not to be believed.
#[derive(Debug, thiserror::Error)]
pub enum NoteError {
    /// It is none.
    #[error("the note of an erasure cannot be read")]
    Unreadable(#[from] serde_json::Error),
    /// The key is none.
    #[error("the note of an erasure names `{0}` as its signer, which is no public nkey")]
    NoKey(String),
    /// The signature is wrong.
    #[error("the note of an erasure was not signed by `{0}`, or was changed since")]
    Signature(String),
    /// It is right, and another key's than it may be.
    #[error("the note of an erasure is signed by `{0}`, which is not a key that may erase")]
    Foreign(String),
}

/// Signs a note.
pub fn sign(note: &ErasureNote, key: &Nkey) -> Erasure {
    let text = serde_json::to_string(note).expect("a note is always JSON");
    let signature = STANDARD.encode(key.sign(text.as_bytes()));
    let note = RawJson::new(text).expect("it was just made");
    Erasure { note, key: key.public_key(), signature }
}

/// Reads a note whose signature is right, and by one of `keys` where there are any.
///
/// # Errors
/// When it is not.
pub fn check(erasure: &Erasure, keys: &[String]) -> Result<ErasureNote, NoteError> {
    let Erasure { note, key, signature } = erasure;
    let pair = KeyPair::from_public_key(key).map_err(|_| NoteError::NoKey(key.clone()))?;
    let wrong = || NoteError::Signature(key.clone());
    let signature = STANDARD.decode(signature).map_err(|_| wrong())?;
    pair.verify(note.get().as_bytes(), &signature).map_err(|_| wrong())?;
    if !keys.is_empty() && !keys.contains(key) {
        return Err(NoteError::Foreign(key.clone()));
    }
    Ok(erasure.read()?)
}

#[cfg(test)]
mod tests {
    use cim_core::archive::SeqRange;
    use cim_core::archive::journal::{ErasedIn, JournalEntry};

    use super::*;

    fn key(dir: &std::path::Path) -> Nkey {
        let file = dir.join("key.nk");
        std::fs::write(&file, KeyPair::new_user().seed().unwrap()).unwrap();
        Nkey::read(&file).unwrap()
    }

    fn note() -> ErasureNote {
        ErasureNote {
            id: "1".into(),
            stream: "S".parse().unwrap(),
            journal: "main".parse().unwrap(),
            tier: "nas".into(),
            at: jiff::Timestamp::UNIX_EPOCH,
            by: "host".into(),
            reason: "asked".into(),
            messages: 1,
            timelines: vec![ErasedIn {
                timeline: 1,
                sequences: vec![SeqRange { first: 7, last: 7 }],
            }],
            segments: Vec::new(),
        }
    }

    /// A note that stays as it was signed, whatever this program makes of notes later.
    #[test]
    fn a_stored_note_is_believed() {
        const ENTRY: &str =
            include_str!("../../../../fixtures/schemas/journal-entry/examples/v8/erased.json");
        let entry: JournalEntry = serde_json::from_str(ENTRY).unwrap();
        let change = &entry.streams["orders"];
        let note = check(&change.erased[0], &[]).unwrap();
        assert_eq!((note.messages, note.reason.as_str()), (3, "request 2026-118"));
        let sequences = note.of(1).iter().collect::<Vec<_>>();
        assert_eq!(sequences, [SeqRange { first: 7, last: 8 }, SeqRange { first: 20, last: 20 }]);
    }

    #[test]
    fn a_note_is_believed_as_it_was_signed_and_no_other_way() {
        let dir = tempfile::tempdir().unwrap();
        let (key, other) = (key(dir.path()), KeyPair::new_user());
        let signed = sign(&note(), &key);
        assert_eq!(check(&signed, &[]).unwrap(), note());
        assert_eq!(check(&signed, &[key.public_key()]).unwrap(), note());
        let stored = serde_json::to_string(&signed).unwrap();
        let read: Erasure = serde_json::from_str(&stored).unwrap();
        assert_eq!(check(&read, &[]).unwrap(), note());
        assert!(matches!(check(&signed, &[other.public_key()]), Err(NoteError::Foreign(_))));
        let said = signed.note.get().replace("\"messages\":1", "\"messages\":2");
        let changed = Erasure { note: RawJson::new(said).unwrap(), ..signed.clone() };
        assert!(matches!(check(&changed, &[]), Err(NoteError::Signature(_))));
        let others = Erasure { key: other.public_key(), ..signed.clone() };
        assert!(matches!(check(&others, &[]), Err(NoteError::Signature(_))));
        let none = Erasure { key: "U".into(), ..signed };
        assert!(matches!(check(&none, &[]), Err(NoteError::NoKey(_))));
    }
}
