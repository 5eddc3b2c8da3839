//! The key that every S3 service of a lab takes.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

pub(crate) const USER: &str = "cim-test";
pub(crate) const SECRET: &str = "cim-test-secret";

/// Writes a credentials file that its owner alone may read.
pub(crate) fn credentials_file(dir: &Path, name: &str, user: &str, secret: &str) -> PathBuf {
    let path = dir.join(name);
    let text = format!("AWS_ACCESS_KEY_ID={user}\nAWS_SECRET_ACCESS_KEY={secret}\n");
    write_secret(&path, text.as_bytes());
    path
}

/// Writes a file that its owner alone may read.
pub(crate) fn write_secret(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
