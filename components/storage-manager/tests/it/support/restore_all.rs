//! `restore --all` where not all streams can come back.

use serde_json::Value;

use super::Manager;

/// Returns the configuration of a server whose only account has these limits.
pub(crate) fn account(limits: &str) -> String {
    format!(
        "accounts {{ A: {{ users: [{{ user: a, password: a }}], jetstream: {{ {limits} }} }} }}\n\
         no_auth_user: a\n"
    )
}

/// Runs `restore --all`; returns its status, its last line, and what came of each stream.
pub(crate) fn restore_all(manager: &Manager, more: &[&str]) -> (i32, String, Vec<Value>) {
    let output = manager.run(&[&["restore", "--all", "--json"][..], more].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).expect(&said);
    let last = said.lines().last().unwrap_or_default().to_owned();
    (output.status.code().unwrap(), last, report["streams"].as_array().unwrap().clone())
}

/// Returns what came of each stream, in a word.
pub(crate) fn outcomes(streams: &[Value]) -> Vec<&str> {
    streams.iter().map(|stream| stream["outcome"].as_str().unwrap()).collect()
}
