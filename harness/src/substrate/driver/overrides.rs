//! A scenario's settings for the storage manager of a machine, until its next boot.

use base64::Engine as _;

use crate::error::{Context as _, Error, Result};
use crate::lab::storage_manager::merge;

/// Prints the configuration that the unit starts with.
pub(super) const READ: &str = "cat \"$(systemctl cat cim-storage-manager.service \
    | sed -n 's/^ExecStart=.* //p' | tail -n 1)\"";

/// A command that makes the unit start with `installed` and the scenario's settings over it. They lie
/// where the next boot clears them away.
pub(super) fn command(installed: &str, settings: &toml::Table) -> Result<String> {
    let mut table: toml::Table = toml::from_str(installed)
        .map_err(|e| Error::step(format!("the installed configuration is not TOML: {e}")))?;
    merge(&mut table, settings);
    let text = toml::to_string(&table).step(|| "configuration cannot be written".into())?;
    let text = base64::engine::general_purpose::STANDARD.encode(text);
    Ok([
        "set -e",
        "unit=cim-storage-manager.service",
        "place=/run/systemd/system/$unit.d",
        "start=$(systemctl cat $unit | sed -n 's/^ExecStart=//p' | tail -n 1)",
        "mkdir -p $place",
        &format!("echo {text} | base64 -d >/run/storage-manager-lab.toml"),
        "chmod 0644 /run/storage-manager-lab.toml",
        "printf '[Service]\\nExecStart=\\nExecStart=%s /run/storage-manager-lab.toml\\n' \
         \"${start% *}\" >$place/lab.conf",
        "systemctl daemon-reload",
    ]
    .join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_lie_over_what_is_installed() {
        let settings = toml::toml! { seal = { interval = "5s" } };
        let installed = "[nats]\nurl = 'u'\n[seal]\nsize = '1MiB'\n";
        let command = command(installed, &settings).unwrap();
        let text = command.split("echo ").nth(1).unwrap().split(' ').next().unwrap();
        let text = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
        let merged: toml::Table = toml::from_str(std::str::from_utf8(&text).unwrap()).unwrap();
        let expected = toml::toml! {
            nats = { url = "u" }
            seal = { size = "1MiB", interval = "5s" }
        };
        assert_eq!(merged, expected);
    }
}
