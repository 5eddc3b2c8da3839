//! Keys and their files.

use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::aead::{self, KEY};

/// The text that a wrapped key is bound to, before the name of the key.
const WRAPPED: &[u8] = b"cim archive key ";

/// The name of a key, which follows from it: 12 digits, and 4 that tell whether those are right.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(String);

impl KeyId {
    const DIGITS: usize = 12;

    fn of(key: &[u8; KEY]) -> Self {
        let digest = Sha256::new().chain_update(b"cim archive key id\0").chain_update(key);
        let name = hex::encode(&digest.finalize()[..Self::DIGITS / 2]);
        Self(format!("{name}{}", check_digits(&name)))
    }

    /// Returns its digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check_digits(name: &str) -> String {
    hex::encode(&Sha256::digest(name)[..2])
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// It is no key's name.
#[derive(Debug, thiserror::Error)]
#[error("no name of a key")]
pub struct NoKeyId;

impl FromStr for KeyId {
    type Err = NoKeyId;

    fn from_str(text: &str) -> Result<Self, NoKeyId> {
        let (name, check) = text.split_at_checked(Self::DIGITS).ok_or(NoKeyId)?;
        if check_digits(name) == check { Ok(Self(text.into())) } else { Err(NoKeyId) }
    }
}

/// A key that another one has wrapped.
#[derive(Clone, PartialEq, Eq)]
pub struct Wrapped {
    /// The key that unwraps it.
    pub by: KeyId,
    /// Nonce, text and tag.
    pub text: Vec<u8>,
}

/// A key, and what its file has of it wrapped for recovery.
#[derive(Clone)]
pub struct Key {
    id: KeyId,
    bytes: [u8; KEY],
    recovery: Option<Wrapped>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

/// A key's file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read.
    #[error(
        "cannot read archive key `{path}`: it has to be there, and readable for the user that this runs as"
    )]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It can be read by all.
    #[error("archive key `{path}` may be read by everybody (mode {mode:04o}): `chmod 600` it")]
    Open {
        /// The file.
        path: String,
        /// Its mode.
        mode: u32,
    },
    /// It holds no key.
    #[error(
        "archive key `{path}`: {what}; a key is 32 bytes, as they are, in Base64 or in hexadecimal digits, as `cim-storage-manager key new` makes one"
    )]
    Content {
        /// The file.
        path: String,
        /// The fault.
        what: String,
    },
}

impl Key {
    /// Makes a key.
    pub fn random() -> Self {
        Self::new(aead::random())
    }

    fn new(bytes: [u8; KEY]) -> Self {
        Self { id: KeyId::of(&bytes), bytes, recovery: None }
    }

    /// Reads a key from its file.
    ///
    /// # Errors
    /// When it cannot be read, or others can read it too, or holds no key.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let name = path.display().to_string();
        let failed = |source| KeyError::Read { path: name.clone(), source };
        let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode() & 0o7777;
        if mode & 0o007 != 0 {
            return Err(KeyError::Open { path: name, mode });
        }
        let content = std::fs::read(path).map_err(failed)?;
        Self::parse(&content).map_err(|what| KeyError::Content { path: name, what })
    }

    pub(super) fn parse(content: &[u8]) -> Result<Self, String> {
        if let Ok(bytes) = content.try_into() {
            return Ok(Self::new(bytes));
        }
        let bytes = content.len();
        let Ok(text) = std::str::from_utf8(content) else {
            return Err(format!("it has {bytes} bytes and is no text"));
        };
        let lines = text.lines().map(str::trim);
        let mut lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let line = lines.next().ok_or("it is empty")?;
        let key = hex::decode(line).ok().or_else(|| STANDARD.decode(line).ok());
        let key = key.ok_or("its first line is neither Base64 nor hexadecimal digits")?;
        let length = key.len();
        let key: [u8; KEY] =
            key.try_into().map_err(|_| format!("its first line has {length} bytes, not {KEY}"))?;
        let mut key = Self::new(key);
        if let Some(line) = lines.next() {
            let recovery = recovery(line).ok_or_else(|| {
                "its second line is not the one that `key new --recovery` writes".to_owned()
            })?;
            key.recovery = Some(recovery);
        }
        match lines.next() {
            None => Ok(key),
            Some(_) => Err("it has more lines than a key and what is wrapped of it".into()),
        }
    }

    /// Returns the text of the key's file.
    pub fn to_text(&self) -> String {
        let key = STANDARD.encode(self.bytes);
        let recovery = self.recovery.as_ref().map_or_else(String::new, |wrapped| {
            format!("recovery {} {}\n", wrapped.by, STANDARD.encode(&wrapped.text))
        });
        format!(
            "# Key {} of an archive. With it the archive can be read, without it not.\n{key}\n{recovery}",
            self.id
        )
    }

    /// Returns the key's name.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    pub(super) fn bytes(&self) -> &[u8; KEY] {
        &self.bytes
    }

    /// Returns the key in Base64, as DuckDB takes it.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.bytes)
    }

    pub(super) fn recovery(&self) -> Option<&Wrapped> {
        self.recovery.as_ref()
    }

    /// Returns the key that recovers this one, where there is one.
    pub fn recovered_by(&self) -> Option<&KeyId> {
        self.recovery.as_ref().map(|wrapped| &wrapped.by)
    }

    /// Returns the same key, recoverable with another one.
    #[must_use]
    pub fn recoverable_with(self, by: &Self) -> Self {
        let text = aead::encrypt(&by.bytes, &about(&self.id), &self.bytes);
        Self { recovery: Some(Wrapped { by: by.id.clone(), text }), ..self }
    }

    /// Unwraps a key; `None` where it is not the one with this name.
    pub(super) fn unwrap(&self, id: &KeyId, wrapped: &Wrapped) -> Option<Self> {
        if wrapped.by != self.id {
            return None;
        }
        let bytes = aead::decrypt(&aead::ready(&self.bytes), &about(id), &wrapped.text)?;
        Some(Self::new(bytes.try_into().ok()?)).filter(|key| key.id == *id)
    }
}

fn about(id: &KeyId) -> Vec<u8> {
    [WRAPPED, id.as_str().as_bytes()].concat()
}

fn recovery(line: &str) -> Option<Wrapped> {
    let mut words = line.split_whitespace();
    let wrapped = match (words.next()?, words.next()?, words.next()?) {
        ("recovery", by, text) => {
            Wrapped { by: by.parse().ok()?, text: STANDARD.decode(text).ok()? }
        }
        _ => return None,
    };
    words.next().is_none().then_some(wrapped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8], mode: u32) -> Result<Key, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("archive.key");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let read = Key::read(&path).map_err(|error| cim_runtime::error::chain(&error));
        read.map_err(|error| error.replace(&dir.path().display().to_string(), "DIR"))
    }

    #[test]
    fn a_key_is_32_bytes_in_any_of_three_spellings() {
        let bytes = *b"0123456789abcdef0123456789ABCDEF";
        let spellings = [
            bytes.to_vec(),
            STANDARD.encode(bytes).into_bytes(),
            format!("# of 2026\n\n  {}\n", hex::encode(bytes)).into_bytes(),
        ];
        let ids: Vec<_> =
            spellings.iter().map(|text| read(text, 0o440).unwrap().id().clone()).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        assert_eq!(ids[0].as_str().parse::<KeyId>().unwrap(), ids[0]);
        let other =
            ids[0].as_str().replace(|digit| digit == ids[0].as_str().chars().next().unwrap(), "x");
        assert!(other.parse::<KeyId>().is_err());
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_the_way_out() {
        let errors = [
            read(b"", 0o600).unwrap_err(),
            read(b"c2hvcnQ=\n", 0o600).unwrap_err(),
            read(b"not a key\n", 0o600).unwrap_err(),
            read(&[0xff; 33], 0o600).unwrap_err(),
            read(b"c2hvcnQ=\n", 0o644).unwrap_err(),
            read(Key::random().to_text().replace('\n', "\nx\n").as_bytes(), 0o600).unwrap_err(),
        ];
        insta::assert_snapshot!(errors.join("\n"), @"
        archive key `DIR/archive.key`: it is empty; a key is 32 bytes, as they are, in Base64 or in hexadecimal digits, as `cim-storage-manager key new` makes one
        archive key `DIR/archive.key`: its first line has 5 bytes, not 32; a key is 32 bytes, as they are, in Base64 or in hexadecimal digits, as `cim-storage-manager key new` makes one
        archive key `DIR/archive.key`: its first line is neither Base64 nor hexadecimal digits; a key is 32 bytes, as they are, in Base64 or in hexadecimal digits, as `cim-storage-manager key new` makes one
        archive key `DIR/archive.key`: it has 33 bytes and is no text; a key is 32 bytes, as they are, in Base64 or in hexadecimal digits, as `cim-storage-manager key new` makes one
        archive key `DIR/archive.key` may be read by everybody (mode 0644): `chmod 600` it
        archive key `DIR/archive.key`: its first line is neither Base64 nor hexadecimal digits; a key is 32 bytes, as they are, in Base64 or in hexadecimal digits, as `cim-storage-manager key new` makes one
        ");
    }

    #[test]
    fn the_recovery_key_recovers_and_no_other() {
        let (recovery, other) = (Key::random(), Key::random());
        let key = Key::random().recoverable_with(&recovery);
        let again = read(key.to_text().as_bytes(), 0o600).unwrap();
        assert_eq!(again.recovered_by(), Some(recovery.id()));
        let wrapped = again.recovery().unwrap();
        assert_eq!(recovery.unwrap(key.id(), wrapped).unwrap().bytes(), key.bytes());
        assert!(other.unwrap(key.id(), wrapped).is_none());
        assert!(recovery.unwrap(other.id(), wrapped).is_none());
    }
}
