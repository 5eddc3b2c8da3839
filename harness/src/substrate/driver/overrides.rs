//! A scenario's settings for NATS and the storage manager of a machine, until its next boot.

use base64::Engine as _;

use crate::error::{Context as _, Error, Result};
use crate::lab::storage_manager::merge;

/// Prints the configuration that the unit starts with.
pub(super) const READ: &str = "cat \"$(systemctl cat cim-storage-manager.service \
    | sed -n 's/^ExecStart=.* //p' | tail -n 1)\"";

/// Returns a command that makes the unit start with `installed` and the scenario's settings over
/// it. The files lie in /run, which the next boot clears.
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

/// Returns a command that restarts NATS with another `sync_interval` than the installed one. The
/// configuration may be read-only, so the unit is given a changed copy.
pub(super) fn sync_interval(value: &str) -> String {
    [
        "set -e",
        "place=/run/systemd/system/nats.service.d",
        "start=$(systemctl show nats.service --property=ExecStart --value \
         | sed 's/.*argv\\[\\]=\\([^;]*[^; ]\\) *;.*/\\1/')",
        &format!(
            "sed 's/\\(\"sync_interval\": *\\)\"[^\"]*\"/\\1\"{value}\"/' \
             \"${{start##* }}\" >/run/nats-lab.conf"
        ),
        &format!("grep -q '\"sync_interval\": *\"{value}\"' /run/nats-lab.conf"),
        "mkdir -p $place",
        "printf '[Service]\\nExecStart=\\nExecStart=%s /run/nats-lab.conf\\n' \
         \"${start% *}\" >$place/lab.conf",
        "systemctl daemon-reload",
        "systemctl restart nats.service",
    ]
    .join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the command in a shell, with a `systemctl` that prints the configuration's path.
    #[test]
    fn another_sync_interval_is_in_the_copy_that_nats_is_given() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().display().to_string();
        let installed =
            "{\n  \"jetstream\": { \"sync_interval\": \"always\" },\n  \"nkey\": $LEAF\n}\n";
        std::fs::write(dir.path().join("installed.conf"), installed).unwrap();
        let unit =
            format!("{{ path=/n ; argv[]=/bin/nats-server --config {place}/installed.conf ; x }}");
        let stand_in = format!("systemctl() {{ [ $1 != show ] || echo '{unit}'; }}");
        let command = sync_interval("2m").replace("/run/", &format!("{place}/"));
        let mut shell = std::process::Command::new("bash");
        let done = shell.args(["-c", &format!("{stand_in}; {command}")]).status().unwrap();
        assert!(done.success());
        let copy = std::fs::read_to_string(dir.path().join("nats-lab.conf")).unwrap();
        assert_eq!(copy, installed.replace("always", "2m"));
        let unit = dir.path().join("systemd/system/nats.service.d/lab.conf");
        let expected = format!(
            "[Service]\nExecStart=\nExecStart=/bin/nats-server --config {place}/nats-lab.conf\n"
        );
        assert_eq!(std::fs::read_to_string(unit).unwrap(), expected);
    }

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
