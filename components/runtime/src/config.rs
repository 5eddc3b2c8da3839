//! Configuration files: TOML, every key known, errors that name file, line and key.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::de::{DeserializeOwned, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// The file's content cannot be used.
    #[error("configuration `{}`{place}: {message}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// ` line 3, column 7`, where known.
        place: String,
        /// The problem.
        message: String,
    },
    /// Keys that contradict each other.
    #[error("configuration: {0}")]
    Conflict(String),
    /// A secret's file cannot be read.
    #[error("cannot read secret `{}`", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// A secret's file does not hold the secret.
    #[error("secret `{}`: {message}", path.display())]
    SecretContent {
        /// The file.
        path: PathBuf,
        /// The missing part.
        message: String,
    },
    /// A file of authorities cannot be read.
    #[error("cannot read certificates `{}`", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// A file of authorities that holds none.
    #[error(
        "`{}` holds no certificate that can be trusted: {message}; `tls_ca` is a PEM file of authorities",
        path.display()
    )]
    NoAuthorities {
        /// The file.
        path: PathBuf,
        /// The problem.
        message: String,
    },
}

/// Reads a TOML file.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.into(), source })?;
    parse(path, &text)
}

/// Reads TOML; `path` is for the error alone.
pub fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let place = error.span().map(|span| place(text, span.start)).unwrap_or_default();
        let mut message = error.message().replace('\n', " ");
        if message == "duplicate key"
            && let Some(key) = error.span().and_then(|span| text.get(span))
        {
            message = format!("`{key}` is set twice: keep one of them");
        }
        ConfigError::Parse { path: path.into(), place, message }
    })
}

fn place(text: &str, offset: usize) -> String {
    let before = &text[..offset.min(text.len())];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!(" line {line}, column {column}")
}

/// Returns the first line of a file that holds one secret.
pub fn secret(path: &Path) -> Result<String, ConfigError> {
    let text = read_secret(path)?;
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() {
        let message = "its first line is empty".into();
        return Err(ConfigError::SecretContent { path: path.into(), message });
    }
    Ok(line.into())
}

/// Returns the value of `KEY=value` in an environment file (comments with `#`, optional quotes).
pub fn env_file_value(path: &Path, key: &str) -> Result<String, ConfigError> {
    env_file_optional(path, key)?.ok_or_else(|| ConfigError::SecretContent {
        path: path.into(),
        message: format!("it has no line `{key}=…`"),
    })
}

/// Returns the value of a line that may be missing.
pub fn env_file_optional(path: &Path, key: &str) -> Result<Option<String>, ConfigError> {
    let text = read_secret(path)?;
    let value = text.lines().find_map(|line| {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=')?;
        (name.trim() == key).then(|| value.trim().trim_matches(['"', '\'']).to_owned())
    });
    Ok(value.filter(|v| !v.is_empty()))
}

/// Returns the advice to restart the unit if `path` is systemd's copy of a secret, otherwise an empty text.
pub fn if_copied(path: &Path) -> &'static str {
    let copies = std::env::var_os("CREDENTIALS_DIRECTORY");
    if is_copied(path, copies.as_deref()) { COPIED } else { "" }
}

const COPIED: &str = ". This is the copy that systemd made when the unit started: if the original file was replaced, restart the unit (`cim-storage-manager-secrets.path` does)";

fn is_copied(path: &Path, copies: Option<&OsStr>) -> bool {
    copies.is_some_and(|copies| !copies.is_empty() && path.starts_with(copies))
}

/// Returns a warning with the command to type if every user of this machine may read a file of secrets, otherwise
/// `None`.
pub fn open_to_all(path: &Path) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    let path = path.display();
    (mode & 0o004 != 0).then(|| {
        format!(
            "every user of this machine can read secret `{path}` (its mode is {mode:04o}): `chmod 0600 {path}`"
        )
    })
}

/// Reads a whole file of secrets, without the byte order mark with which editors of other systems begin it.
pub fn read_secret(path: &Path) -> Result<String, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Secret { path: path.into(), source })?;
    Ok(text.strip_prefix('\u{feff}').map(Into::into).unwrap_or(text))
}

/// A size in bytes above zero, written `32MiB`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(bytesize::ByteSize);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = |text: &str| match text.parse::<bytesize::ByteSize>() {
            Ok(size) if size.as_u64() > 0 => Some(Self(size)),
            _ => None,
        };
        deserializer.deserialize_str(Quantity("a size above zero like `512KiB` or `32MiB`", read))
    }
}

/// Durations, written `500ms`, `30s` or `1h`, for `#[serde(with = …)]`.
pub mod duration {
    use std::time::Duration;

    use serde::Deserializer;

    use super::Quantity;

    /// Reads a duration.
    ///
    /// # Errors
    /// When it is not a duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let read = |text: &str| humantime::parse_duration(text).ok();
        deserializer.deserialize_str(Quantity("a duration like `500ms`, `30s` or `1h`", read))
    }

    /// Reads a duration above zero.
    ///
    /// # Errors
    /// When it is not a duration, or zero.
    pub fn above_zero<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let read = |text: &str| humantime::parse_duration(text).ok().filter(|time| !time.is_zero());
        let what = "a duration above zero like `500ms`, `30s` or `1h`";
        deserializer.deserialize_str(Quantity(what, read))
    }
}

/// A text that stands for a quantity: a description for errors, and the function that reads it.
struct Quantity<F>(&'static str, F);

impl<T, F: Fn(&str) -> Option<T>> Visitor<'_> for Quantity<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        (self.1)(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

impl Size {
    /// Returns `n` mebibytes.
    pub const fn mib(n: u64) -> Self {
        Self(bytesize::ByteSize::mib(n))
    }

    /// Returns the number of bytes.
    pub fn bytes(self) -> usize {
        usize::try_from(self.0.as_u64()).unwrap_or(usize::MAX)
    }
}

impl fmt::Debug for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::time::Duration;

    use super::*;
    use crate::error::chain;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[expect(dead_code, reason = "only its parsing is tested")]
        size: Size,
        #[serde(default, with = "duration")]
        #[expect(dead_code, reason = "only its parsing is tested")]
        age: Duration,
        #[serde(default, deserialize_with = "duration::above_zero")]
        #[expect(dead_code, reason = "only its parsing is tested")]
        pace: Duration,
    }

    #[test]
    fn a_secret_that_all_may_read_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path();
        let with = |mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
            open_to_all(path).map(|said| said.replace(&path.display().to_string(), "FILE"))
        };
        assert_eq!([with(0o600), with(0o400), with(0o640)], [None, None, None]);
        assert_eq!(
            with(0o644).as_deref(),
            Some(
                "every user of this machine can read secret `FILE` (its mode is 0644): `chmod 0600 FILE`"
            )
        );
        assert_eq!(open_to_all(Path::new("/no/file")), None);
    }

    #[test]
    fn errors_name_file_line_and_key() {
        let wrong = [
            "size = \"32MiB\"\nsise = 1\n",
            "size = \n",
            "size = \"many\"\n",
            "size = 5\n",
            "size = \"0\"\n",
            "size = \"1B\"\nage = 5",
            "size = \"1B\"\nage = \"-5s\"",
            "size = \"1B\"\npace = \"0s\"",
            "size = \"1B\"\nsize = \"2B\"",
        ];
        let errors =
            wrong.map(|text| chain(&parse::<Sample>(Path::new("cim.toml"), text).unwrap_err()));
        insta::assert_snapshot!(errors.join("\n"), @r#"
        configuration `cim.toml` line 2, column 1: unknown field `sise`, expected one of `size`, `age`, `pace`
        configuration `cim.toml` line 1, column 8: string values must be quoted, expected literal string
        configuration `cim.toml` line 1, column 8: invalid value: string "many", expected a size above zero like `512KiB` or `32MiB`
        configuration `cim.toml` line 1, column 8: invalid type: integer `5`, expected a size above zero like `512KiB` or `32MiB`
        configuration `cim.toml` line 1, column 8: invalid value: string "0", expected a size above zero like `512KiB` or `32MiB`
        configuration `cim.toml` line 2, column 7: invalid type: integer `5`, expected a duration like `500ms`, `30s` or `1h`
        configuration `cim.toml` line 2, column 7: invalid value: string "-5s", expected a duration like `500ms`, `30s` or `1h`
        configuration `cim.toml` line 2, column 8: invalid value: string "0s", expected a duration above zero like `500ms`, `30s` or `1h`
        configuration `cim.toml` line 2, column 1: `size` is set twice: keep one of them
        "#);
    }

    #[test]
    fn a_copy_of_systemds_is_told_from_a_file_that_changes() {
        let copies = Some(OsStr::new("/run/credentials/a.service"));
        assert!(is_copied(Path::new("/run/credentials/a.service/nas.env"), copies));
        assert!(!is_copied(Path::new("/run/credentials/a.service2/nas.env"), copies));
        for none in [None, Some(OsStr::new(""))] {
            assert!(!is_copied(Path::new("/run/secrets/nas.env"), none));
        }
    }

    #[test]
    fn environment_files_are_read_as_systemd_reads_them() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "# NAS\nA=1\nexport B=\"two\"\nC=").unwrap();
        assert_eq!(env_file_value(file.path(), "A").unwrap(), "1");
        assert_eq!(env_file_value(file.path(), "B").unwrap(), "two");
        assert!(env_file_value(file.path(), "C").is_err());
        assert!(env_file_value(file.path(), "D").is_err());
        assert_eq!(env_file_optional(file.path(), "D").unwrap(), None);
    }
}
