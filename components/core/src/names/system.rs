//! Values of a machine's own configuration.

use std::time::Duration;

use super::error::{Problem, check_chars, check_len};
use super::macros::validated_name;

validated_name! {
    /// One line of `authorized_keys` without options: type, key, comment.
    SshKey {
        kind: "ssh key",
        rule: "an ssh key is one line: `ssh-ed25519`, `ssh-rsa`, `ecdsa-sha2-…` or `sk-…`, the key in base64, a comment if you like",
        len: 16..=8192,
        pattern: "^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-ssh-ed25519@openssh\\.com) [A-Za-z0-9+/]+={0,2}( [ -~]+)?$",
        check: check_ssh_key,
    }
}

validated_name! {
    /// Bytes as systemd writes them: `512M`, `2G`; the letters count in powers of 1,024.
    MemorySize {
        kind: "memory size",
        rule: "a memory size is a number and one of `K`, `M`, `G`, `T`",
        len: 2..=20,
        pattern: "^[1-9][0-9]*[KMGT]$",
        check: check_memory,
    }
}

validated_name! {
    /// A span of time of one unit: `500ms`, `30s`, `5m`, `2h`.
    Span {
        kind: "span of time",
        rule: "a span of time is a number below 1000000000 and one of `ms`, `s`, `m`, `h`",
        len: 2..=11,
        pattern: "^[1-9][0-9]{0,8}(ms|s|m|h)$",
        check: check_span,
    }
}

validated_name! {
    /// The name of a network interface: Linux takes no more than 15 bytes.
    InterfaceName {
        kind: "interface name",
        rule: "an interface name is 1 to 15 lowercase letters, digits and `-`, and begins with a letter",
        len: 1..=15,
        pattern: "^[a-z][a-z0-9-]*$",
        check: check_interface,
    }
}

validated_name! {
    /// An absolute path that needs no quotes anywhere: not in a shell, a unit or a configuration.
    FilePath {
        kind: "file path",
        rule: "a file path is absolute, of letters, digits, `.`, `_`, `-` and `/`, without `//` and without a `/` at its end",
        len: 2..=1024,
        pattern: "^(/[A-Za-z0-9._-]+)+$",
        check: check_path,
    }
}

impl Span {
    /// Returns its length. Exact; the longest is below 115,000 years.
    pub fn duration(&self) -> Duration {
        let digits = self.0.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.0.len());
        let number: u64 = self.0[..digits].parse().expect("it was checked");
        match &self.0[digits..] {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number * 60),
            _ => Duration::from_secs(number * 3600),
        }
    }
}

fn check_ssh_key(value: &str) -> Result<(), Problem> {
    const TYPES: [&str; 6] = [
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
    ];
    check_len(value, 16, SshKey::MAX_LEN)?;
    check_chars(value, |c| matches!(c, ' '..='~'))?;
    let mut parts = value.splitn(3, ' ');
    if !parts.next().is_some_and(|kind| TYPES.contains(&kind)) {
        return Err(Problem::Shape("begins with no type of key"));
    }
    let key = parts.next().unwrap_or_default();
    let body = key.trim_end_matches('=');
    let base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/');
    if body.is_empty() || key.len() - body.len() > 2 || !body.chars().all(base64) {
        return Err(Problem::Shape("has no key in base64"));
    }
    if parts.next() == Some("") {
        return Err(Problem::Shape("ends with a space"));
    }
    Ok(())
}

fn check_memory(value: &str) -> Result<(), Problem> {
    check_len(value, 2, MemorySize::MAX_LEN)?;
    let digits = value.strip_suffix(['K', 'M', 'G', 'T']);
    check_number(digits.ok_or(Problem::Shape("ends with no unit"))?)
}

fn check_span(value: &str) -> Result<(), Problem> {
    check_len(value, 2, Span::MAX_LEN)?;
    let unit = ["ms", "s", "m", "h"].into_iter().find_map(|unit| value.strip_suffix(unit));
    let digits = unit.ok_or(Problem::Shape("ends with no unit"))?;
    check_number(digits)?;
    if digits.len() > 9 {
        return Err(Problem::Shape("is too long a time"));
    }
    Ok(())
}

fn check_number(digits: &str) -> Result<(), Problem> {
    if digits.is_empty() || digits.starts_with('0') {
        return Err(Problem::Shape("does not begin with a digit from 1 to 9"));
    }
    check_chars(digits, |c| c.is_ascii_digit())
}

fn check_interface(value: &str) -> Result<(), Problem> {
    check_len(value, 1, InterfaceName::MAX_LEN)?;
    check_chars(value, |c| matches!(c, 'a'..='z' | '0'..='9' | '-'))?;
    if !value.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err(Problem::Shape("does not begin with a letter"));
    }
    Ok(())
}

fn check_path(value: &str) -> Result<(), Problem> {
    check_len(value, 2, FilePath::MAX_LEN)?;
    check_chars(value, |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/'))?;
    let parts = value.strip_prefix('/').ok_or(Problem::Shape("is not absolute"))?;
    if parts.split('/').any(str::is_empty) {
        return Err(Problem::Shape("has an empty part"));
    }
    Ok(())
}
