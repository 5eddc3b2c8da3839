//! The process between the harness and each program of a lab.
//!
//! A program of a lab must not outlive the harness, even when that is killed with SIGKILL and runs
//! no clean-up. So each runs under a supervisor that holds the read end of a pipe whose write end
//! only the harness has: when the harness is gone the pipe is at its end, and the supervisor kills
//! the program's whole process group. It sits in a process group of its own, so that Ctrl-C reaches
//! the harness alone.
//!
//! On the pipe, one word a line: `kill`, `term`, `stop`, `cont`. On stdout: `pid N` or `error TEXT`
//! first, `exit N` or `signal N` last.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{BufRead as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

/// The hidden `supervise` command.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file for the program's stderr, and for its stdout without `--out`.
    #[arg(long)]
    log: PathBuf,
    /// The file for the program's stdout.
    #[arg(long)]
    out: Option<PathBuf>,
    /// The program and its arguments.
    #[arg(required = true, last = true)]
    command: Vec<OsString>,
}

/// Runs the program until it ends or the harness is gone.
pub fn run(args: &Args) -> ExitCode {
    match spawn(args) {
        Ok(child) => attend(child),
        Err(error) => {
            say(&format!("error {error}"));
            ExitCode::from(3)
        }
    }
}

fn spawn(args: &Args) -> std::io::Result<std::process::Child> {
    let (program, rest) = args.command.split_first().expect("clap asks for one");
    let log = append(&args.log)?;
    let out = args.out.as_deref().map_or_else(|| log.try_clone(), append)?;
    Command::new(program)
        .args(rest)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(log)
        .process_group(0)
        .spawn()
}

fn append(path: &Path) -> std::io::Result<std::fs::File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn attend(mut child: std::process::Child) -> ExitCode {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a child has a pid");
    say(&format!("pid {}", child.id()));
    std::thread::spawn(move || obey(group));
    let end = child.wait();
    // The program's leftover children go with it; there may be none.
    let _ = kill_process_group(group, Signal::KILL);
    match end {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => say(&format!("exit {code}")),
            (None, signal) => say(&format!("signal {}", signal.unwrap_or(0))),
        },
        Err(error) => say(&format!("error {error}")),
    }
    ExitCode::SUCCESS
}

fn obey(group: Pid) {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let signal = match line.as_str() {
            "kill" => Signal::KILL,
            "term" => Signal::TERM,
            "stop" => Signal::STOP,
            "cont" => Signal::CONT,
            _ => continue,
        };
        // A program that has just ended cannot be signalled, and need not be.
        let _ = kill_process_group(group, signal);
    }
    let _ = kill_process_group(group, Signal::KILL);
}

/// Writes a line to the harness, which may be gone already; that is no reason to stop.
fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
