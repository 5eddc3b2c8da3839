//! Programs of a lab, each under a supervisor (see [`crate::supervise`]).

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::sync::watch;

use super::tools::{Tool, Tools};
use crate::error::{Context as _, Error, Result};

/// The end of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// By itself, with this status.
    Exit(i32),
    /// By this signal.
    Signal(i32),
    /// Its supervisor is gone, and the program with it.
    Lost,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "exit status {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::Lost => f.write_str("end unknown"),
        }
    }
}

/// A signal that a lab sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGKILL: no clean-up, as after a crash of the process.
    Kill,
    /// SIGTERM: an orderly end.
    Term,
    /// SIGSTOP: the process hangs.
    Stop,
    /// SIGCONT: it goes on.
    Continue,
}

/// A program to start, with its arguments and environment.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The name of its log file, without `.log`.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Variables besides the inherited ones.
    pub env: Vec<(String, String)>,
    /// A file of its own for stdout; without it stdout goes to the log.
    pub out: Option<PathBuf>,
}

impl Spec {
    /// Makes a spec without arguments.
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>) -> Self {
        let (name, program) = (name.into(), program.into());
        Self { name, program, args: Vec::new(), env: Vec::new(), out: None }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }
}

/// A starter of programs that keeps track of all it started.
#[derive(Debug, Clone)]
pub struct Launcher {
    supervisor: PathBuf,
    logs: PathBuf,
    env: Vec<(String, String)>,
    started: Arc<Mutex<Vec<watch::Receiver<Option<End>>>>>,
}

/// A started program. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: u32,
    log: PathBuf,
    orders: tokio::sync::Mutex<ChildStdin>,
    end: watch::Receiver<Option<End>>,
}

impl Launcher {
    /// Makes a launcher whose programs write their logs into `logs`.
    pub fn new(tools: &Tools, logs: &Path) -> Result<Self> {
        let supervisor = match std::env::current_exe() {
            Ok(path) if path.file_name().is_some_and(|n| n == Tool::Harness.name()) => path,
            _ => tools.find(Tool::Harness)?,
        };
        crate::error::make_dir(logs)?;
        Ok(Self { supervisor, logs: logs.to_owned(), env: Vec::new(), started: Arc::default() })
    }

    /// Sets these variables for every program.
    #[must_use]
    pub fn with_env(mut self, env: Vec<(String, String)>) -> Self {
        self.env = env;
        self
    }

    /// Returns the path of the log of a program with this name.
    pub fn log_path(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    /// Returns the path of the harness's own program.
    pub(crate) fn harness(&self) -> &Path {
        &self.supervisor
    }

    /// Starts a program and returns once its supervisor has reported the process id.
    pub async fn start(&self, spec: Spec) -> Result<Process> {
        let log = self.log_path(&spec.name);
        let mut command = Command::new(&self.supervisor);
        command.arg("supervise").arg("--log").arg(&log);
        if let Some(out) = &spec.out {
            command.arg("--out").arg(out);
        }
        command.arg("--").arg(&spec.program).args(&spec.args);
        command.envs(self.env.iter().cloned()).envs(spec.env);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let cannot = || format!("cannot start `{}`", spec.program.display());
        let mut child = command.spawn().setup(cannot)?;
        let (Some(orders), Some(said)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::setup(format!("{}: it has no pipes", cannot())));
        };
        let mut said = BufReader::new(said).lines();
        let first = said.next_line().await.setup(cannot)?.unwrap_or_default();
        let Some(pid) = first.strip_prefix("pid ").and_then(|pid| pid.parse().ok()) else {
            let why = first.trim_start_matches("error ");
            return Err(Error::setup(format!("{}: {why}", cannot())));
        };
        let (sender, end) = watch::channel(None);
        self.started.lock().unwrap_or_else(PoisonError::into_inner).push(end.clone());
        tokio::spawn(async move {
            let end = last_words(said).await;
            // The supervisor ends right after its last words; it must not stay as a zombie.
            drop(child.wait().await);
            sender.send_replace(Some(end));
        });
        Ok(Process { name: spec.name, pid, log, orders: orders.into(), end })
    }

    /// Waits until every started program has ended, at most `timeout`. Call it after all of them
    /// were dropped.
    pub async fn all_ended(&self, timeout: Duration) -> bool {
        let started =
            std::mem::take(&mut *self.started.lock().unwrap_or_else(PoisonError::into_inner));
        let wait = async {
            for mut end in started {
                drop(end.wait_for(Option::is_some).await);
            }
        };
        tokio::time::timeout(timeout, wait).await.is_ok()
    }
}

async fn last_words(mut said: tokio::io::Lines<BufReader<ChildStdout>>) -> End {
    let mut end = End::Lost;
    while let Ok(Some(line)) = said.next_line().await {
        end = match line.split_once(' ') {
            Some(("exit", code)) => code.parse().map_or(End::Lost, End::Exit),
            Some(("signal", signal)) => signal.parse().map_or(End::Lost, End::Signal),
            _ => end,
        };
    }
    end
}

impl Process {
    /// Returns its name in the lab.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns how it ended, or `None` while it runs.
    pub fn ended(&self) -> Option<End> {
        self.end.borrow().clone()
    }

    /// Waits for its end.
    pub async fn wait(&self) -> End {
        let mut end = self.end.clone();
        let ended = end.wait_for(Option::is_some).await;
        ended.ok().and_then(|end| end.clone()).unwrap_or(End::Lost)
    }

    /// Sends a signal; ignored if it has ended.
    pub async fn signal(&self, signal: Signal) {
        let order: &[u8] = match signal {
            Signal::Kill => b"kill\n",
            Signal::Term => b"term\n",
            Signal::Stop => b"stop\n",
            Signal::Continue => b"cont\n",
        };
        // The pipe is broken if the supervisor is gone; the program is then gone too.
        drop(self.orders.lock().await.write_all(order).await);
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub async fn kill(&self) -> End {
        self.signal(Signal::Kill).await;
        self.wait().await
    }

    /// Asks it to end with SIGTERM, waits at most `timeout`, then kills it.
    pub async fn stop(&self, timeout: Duration) -> End {
        self.signal(Signal::Term).await;
        match tokio::time::timeout(timeout, self.wait()).await {
            Ok(end) => end,
            Err(_) => self.kill().await,
        }
    }

    /// Returns the log's last two lines, joined on one line, for an error message.
    pub fn last_log(&self) -> String {
        last_lines(&self.log)
    }

    /// Returns the processor seconds and the peak resident memory in bytes so far; `None` once it
    /// has ended.
    pub fn usage(&self) -> Option<Usage> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let ticks: u64 =
            fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        let per_second = rustix::param::clock_ticks_per_second();
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
        let peak: u64 = peak.trim().trim_end_matches("kB").trim().parse().ok()?;
        Some(Usage { cpu_seconds: ticks as f64 / per_second as f64, peak_rss: peak * 1024 })
    }
}

/// Returns a log's last two lines, joined on one line, for an error message.
pub(crate) fn last_lines(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().rev().filter(|l| !l.trim().is_empty()).take(2).collect();
    if lines.is_empty() {
        return "its log is empty".to_owned();
    }
    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
}

/// Resources that a process has used since it started.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Processor time, user and system, in seconds.
    pub cpu_seconds: f64,
    /// The most resident memory it ever had, in bytes.
    pub peak_rss: u64,
}
