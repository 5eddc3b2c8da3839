//! The program.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Nats, wait_until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cim-information-units");

/// Returns the program that can be made to die, which is built beside the one that is shipped. Without it the reason
/// is said, or the test fails where `CIM_REQUIRE_TOOLS` asks for all.
pub(crate) fn mortal() -> Option<PathBuf> {
    let program = PathBuf::from(format!("{PROGRAM}-sabotaged"));
    if program.exists() {
        return Some(program);
    }
    let why = "`cim-information-units-sabotaged` is not built: `cargo build --workspace --bin cim-information-units-sabotaged --features cim-information-units/fail-points`";
    assert!(std::env::var_os("CIM_REQUIRE_TOOLS").is_none_or(|value| value != "1"), "{why}");
    eprintln!("skipped: {why}");
    if let Some(file) = std::env::var_os("CIM_SKIPPED_FILE") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(file);
        writeln!(file.unwrap(), "crash: {why}").unwrap();
    }
    None
}

/// A process of the program.
pub(crate) struct Program {
    child: Child,
    log: PathBuf,
    address: String,
}

impl Program {
    /// Starts a process that reads under this name, and waits until it is ready.
    pub(crate) async fn start(nats: &Nats, reader: &str) -> Self {
        let mut program = Self::spawn(nats, reader, of(Path::new(PROGRAM), nats)).await;
        program.is_ready_or_ended().await;
        assert!(!program.has_ended(), "{}", program.log());
        program
    }

    /// Starts a process that dies at this point, and waits until it is ready or dead.
    pub(crate) async fn dying(nats: &Nats, reader: &str, program: &Path, point: &str) -> Self {
        let mut command = of(program, nats);
        command.env("CIM_FAIL_POINT", point);
        let mut program = Self::spawn(nats, reader, command).await;
        program.is_ready_or_ended().await;
        program
    }

    async fn spawn(nats: &Nats, reader: &str, mut command: Command) -> Self {
        let log = nats.dir.path().join(format!("{reader}.log"));
        let child = command
            .args(["serve", "--create", "--no-register", "--reader", reader])
            .args(["--listen", "127.0.0.1:0", "--snapshot-every", "5"])
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let address = wait_until("the program says its port", async || {
            let text = std::fs::read_to_string(&log).map_err(|e| e.to_string())?;
            let line = text.lines().find_map(|line| line.split_once("metrics at http://"));
            line.map(|(_, address)| address.trim().to_owned()).ok_or(text)
        })
        .await;
        Self { child, log, address }
    }

    async fn is_ready_or_ended(&mut self) {
        wait_until("the program is ready, or has ended", async || {
            if self.is_ready() || self.has_ended() { Ok(()) } else { Err(self.log()) }
        })
        .await;
    }

    fn is_ready(&self) -> bool {
        let asked = || {
            let mut stream = TcpStream::connect(&self.address)?;
            write!(stream, "GET /readyz HTTP/1.1\r\nHost: units\r\nConnection: close\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text).map(|_| text)
        };
        asked().is_ok_and(|text: String| text.split(' ').nth(1) == Some("200"))
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let log = self.log.clone();
        wait_until("the program ends", async || {
            let ended = self.child.try_wait().unwrap();
            ended.ok_or_else(|| std::fs::read_to_string(&log).unwrap())
        })
        .await
    }

    /// Ends it in order.
    pub(crate) async fn stop(mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        let status = self.ended().await;
        assert!(status.success(), "{status}: {}", self.log());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn of(program: &Path, nats: &Nats) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("CIM_NATS_URL", &nats.url).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Runs a command of the program; its status, stdout and stderr.
pub(crate) fn run(nats: &Nats, arguments: &[&str]) -> (Option<i32>, Vec<u8>, String) {
    let output = of(Path::new(PROGRAM), nats)
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    (output.status.code(), output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Runs a command that reports, and returns the report.
pub(crate) fn report(nats: &Nats, arguments: &[&str]) -> Value {
    let (status, out, err) = run(nats, &[arguments, &["--json"]].concat());
    assert_eq!(status, Some(0), "{err}");
    serde_json::from_slice(&out).unwrap()
}

/// Returns the test hooks of a program.
pub(crate) fn points(program: &Path) -> Vec<String> {
    let output = Command::new(program).env_clear().arg("hooks").output().unwrap();
    let hooks: Value = serde_json::from_slice(&output.stdout).unwrap();
    serde_json::from_value(hooks["fail_points"].clone()).unwrap()
}

/// Runs a command to its end; its stdout, and the most memory that it had, in KiB.
pub(crate) async fn peak(nats: &Nats, arguments: &[&str]) -> (String, u64) {
    let mut command = of(Path::new(PROGRAM), nats);
    let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let size = line.and_then(|line| line.trim().split(' ').next()?.parse().ok());
        most = most.max(size.unwrap_or(0));
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    (out, most)
}
