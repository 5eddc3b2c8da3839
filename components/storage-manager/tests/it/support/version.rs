//! Versions of nats-server.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cim_testing::{optional_tool, required_tool};

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// The newest.
    Current,
    /// Debian's 2.9.10.
    Old,
    /// Another one.
    Release(&'static str),
}

/// Returns those that ci/versions.sh pins, ascending; the last one is the current one.
pub(crate) fn pinned() -> &'static [String] {
    static PINNED: OnceLock<Vec<String>> = OnceLock::new();
    PINNED.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ci/versions.sh");
        let script = std::fs::read_to_string(script).unwrap();
        let value = |name: &str| {
            let mut lines = script.lines().filter_map(|line| line.strip_prefix(name));
            lines.next().expect(name).trim_matches(['=', '(', ')'])
        };
        let older = value("old_nats_server_versions").split(' ');
        let all = older.chain([value("nats_server_version")]);
        all.map(|version| version.trim_start_matches('v').to_owned()).collect()
    })
}

impl Version {
    /// Returns its numbers, as text.
    pub(crate) fn number(self) -> &'static str {
        match self {
            Self::Current => pinned().last().unwrap(),
            Self::Old => &pinned()[0],
            Self::Release(number) => number,
        }
    }

    /// Returns the program; `None`, said aloud, where it is not there and need not be.
    pub(crate) fn program(self) -> Option<PathBuf> {
        if self == Self::Current {
            return Some(required_tool("bin/nats-server"));
        }
        optional_tool(&format!("bin/nats-server-{}", self.number()), "an old server")
    }
}
