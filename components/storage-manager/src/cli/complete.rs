//! Completion in a shell.

use std::path::PathBuf;
use std::time::Duration;

use cim_core::names::StreamName;
use clap::ValueEnum as _;
use clap_complete::env::Shells;
use clap_complete::{CompletionCandidate, Shell};

use super::connect;
use crate::archive::Archive;
use crate::config::{Config, DEFAULT_FILE};
use crate::crypt;
use crate::s3::Tier;

const PROGRAM: &str = "cim-storage-manager";
/// No key is waited for longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Returns the script that makes a shell ask this program.
pub(super) fn script(shell: Shell) -> String {
    let (name, mut script) = (shell.to_string(), Vec::new());
    let shells = Shells::builtins();
    let asks = shells.completer(&name).expect("a shell that has a script can ask too");
    let written = asks.write_registration("COMPLETE", PROGRAM, PROGRAM, PROGRAM, &mut script);
    written.expect("memory takes it");
    String::from_utf8_lossy(&script).trim().to_owned()
}

/// Returns the streams that the archive holds of which the command line speaks, or none where it cannot be read.
pub(super) fn streams() -> Vec<CompletionCandidate> {
    let words: Vec<String> =
        std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let held = held(&words).unwrap_or_default();
    held.iter().map(|name| CompletionCandidate::new(name.as_str())).collect()
}

fn held(words: &[String]) -> Option<Vec<StreamName>> {
    let config = option(words, &["--config", "-c"]).map(PathBuf::from);
    let config = config.or_else(|| std::env::var_os("CIM_CONFIG").map(PathBuf::from));
    let config = Config::load(&config.unwrap_or_else(|| DEFAULT_FILE.into())).ok()?;
    crypt::install(crypt::Keyring::read(config.archive.encryption.as_ref()).ok()?);
    let from = option(words, &["--from"]).and_then(|from| Tier::from_str(from, false).ok());
    let store = connect::store(&config, from.unwrap_or(Tier::Nas)).ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let names = async {
        let archive = Archive::open_before_damage(store).await.ok()?;
        archive.streams().await.ok()
    };
    runtime.block_on(async { tokio::time::timeout(PATIENCE, names).await }).ok()?
}

/// Returns the value of an option of the command line, which need not be complete.
fn option<'a>(words: &'a [String], names: &[&str]) -> Option<&'a str> {
    let behind = words.iter().zip(words.iter().skip(1));
    let apart = behind.filter(|(word, _)| names.contains(&word.as_str())).map(|(_, value)| value);
    let joined = words.iter().filter_map(|word| word.split_once('='));
    let joined = joined.filter(|(name, _)| names.contains(name)).map(|(_, value)| value);
    apart.map(String::as_str).chain(joined).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_has_its_value_behind_it_or_in_it() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let config = |line: &str| option(&words(line), &["--config", "-c"]).map(str::to_owned);
        assert_eq!(config("x -c a.toml restore O"), Some("a.toml".into()));
        assert_eq!(config("x restore --config=a.toml O"), Some("a.toml".into()));
        assert_eq!(config("x restore O --config"), None);
    }
}
