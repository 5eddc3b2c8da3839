//! usage: nix-format [--write] FILE…
//!
//! Prints the name of every file that alejandra would format otherwise, and with `--write` formats it.
//! Exits with 1 when there was one, and with 2 when a file cannot be read, parsed or written.

use std::process::ExitCode;

use alejandra::format::{Status, in_fs};

fn main() -> ExitCode {
    let mut files: Vec<String> = std::env::args().skip(1).collect();
    let write = files.first().is_some_and(|argument| argument == "--write");
    if write {
        files.remove(0);
    }
    let (mut changed, mut failed) = (false, false);
    for file in files {
        match in_fs(file.clone(), write) {
            Status::Changed(false) => {}
            Status::Changed(true) => {
                changed = true;
                println!("{file}");
            }
            Status::Error(error) => {
                failed = true;
                eprintln!("error: cannot format `{file}`: {error}");
            }
        }
    }
    match (failed, changed && !write) {
        (true, _) => ExitCode::from(2),
        (false, true) => ExitCode::FAILURE,
        (false, false) => ExitCode::SUCCESS,
    }
}
