//! Programs in Python, which read archives with libraries of their own.

use std::process::Command;

use serde_json::Value;

use super::required_tool;

/// Runs a program; returns what it prints, each line as JSON, or what is wrong.
pub(crate) fn rows(program: &str, arguments: &[&str]) -> Result<Vec<Value>, String> {
    let mut command = Command::new(required_tool("python/bin/python"));
    let output = command.args(["-c", program]).args(arguments).output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let lines = String::from_utf8(output.stdout).unwrap();
    Ok(lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}
