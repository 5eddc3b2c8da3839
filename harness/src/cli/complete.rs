//! Completion in a shell.

use clap_complete::env::Shells;
use clap_complete::{CompletionCandidate, Shell};

use crate::scenario;
use crate::schema::Catalogue;

const PROGRAM: &str = "cim-harness";

/// Returns the script that makes a shell ask this program.
pub(super) fn script(shell: Shell) -> String {
    let (name, mut script) = (shell.to_string(), Vec::new());
    let shells = Shells::builtins();
    let asks = shells.completer(&name).expect("a shell that has a script can ask too");
    let written = asks.write_registration("COMPLETE", PROGRAM, PROGRAM, PROGRAM, &mut script);
    written.expect("memory takes it");
    String::from_utf8_lossy(&script).trim().to_owned()
}

/// Returns the schemas of the default directory.
pub(super) fn schemas() -> Vec<CompletionCandidate> {
    let names = Catalogue::load(None).map(|catalogue| catalogue.schemas.into_keys());
    names.into_iter().flatten().map(CompletionCandidate::new).collect()
}

/// Returns the scenarios of the default directory, with their titles.
pub(super) fn scenarios() -> Vec<CompletionCandidate> {
    let listed = scenario::directory(None).and_then(|dir| scenario::list(&dir));
    let listed = listed.unwrap_or_default().into_iter();
    listed
        .map(|one| {
            let title = one.scenario.ok().map(|scenario| scenario.title.into());
            CompletionCandidate::new(one.name).help(title)
        })
        .collect()
}
