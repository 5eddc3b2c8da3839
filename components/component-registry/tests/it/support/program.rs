//! The registry's program.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Nats, wait_until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cim-component-registry");

/// Returns the program that can be made to die, which is built beside the one that is shipped. Without it the reason
/// is said, or the test fails where `CIM_REQUIRE_TOOLS` asks for all.
pub(crate) fn mortal() -> Option<PathBuf> {
    let program = PathBuf::from(format!("{PROGRAM}-sabotaged"));
    if program.exists() {
        return Some(program);
    }
    let why = "`cim-component-registry-sabotaged` is not built: `cargo build --workspace --bin cim-component-registry-sabotaged --features cim-component-registry/fail-points`";
    assert!(std::env::var_os("CIM_REQUIRE_TOOLS").is_none_or(|value| value != "1"), "{why}");
    eprintln!("skipped: {why}");
    if let Some(file) = std::env::var_os("CIM_SKIPPED_FILE") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(file);
        writeln!(file.unwrap(), "crash: {why}").unwrap();
    }
    None
}

/// A process of the registry.
pub(crate) struct Program {
    child: Child,
    log: PathBuf,
    address: String,
}

impl Program {
    /// Starts a process that reads under this name, and waits until it is ready.
    pub(crate) async fn start(nats: &Nats, reader: &str) -> Self {
        let mut program = Self::spawn(nats, reader, command(nats)).await;
        program.is_ready().await;
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

    /// Starts a process with this way to NATS and its own bucket, which makes nothing and registers itself as `here`.
    pub(crate) async fn permitted(nats: &Nats, config: &Path) -> Self {
        let mut command = command(nats);
        command.env("CIM_NATS_CONFIG", config).env("CIM_VIEWS_BUCKET", "component-graph");
        command.args(["--instance", "here"]);
        let mut program = Self::run(nats, "permitted", command).await;
        program.is_ready().await;
        program
    }

    async fn spawn(nats: &Nats, reader: &str, mut command: Command) -> Self {
        command.args(["serve", "--create", "--no-register", "--reader", reader]);
        Self::run(nats, reader, command).await
    }

    /// Starts a process and does not wait.
    async fn run(nats: &Nats, name: &str, mut command: Command) -> Self {
        let log = nats.dir.path().join(format!("{name}.log"));
        let child = command
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

    pub(crate) async fn is_ready(&mut self) {
        wait_until("the registry is ready", async || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the registry ended: {status}: {}", self.log());
            }
            let (status, body) = self.get("/readyz")?;
            if status == 200 { Ok(()) } else { Err(format!("{body}\n{}", self.log())) }
        })
        .await;
    }

    async fn is_ready_or_ended(&mut self) {
        wait_until("the registry is ready, or dead", async || {
            let ready = self.get("/readyz").is_ok_and(|(status, _)| status == 200);
            if ready || self.has_ended() { Ok(()) } else { Err(self.log()) }
        })
        .await;
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Returns status and body of a path.
    pub(crate) fn get(&self, path: &str) -> Result<(u16, String), String> {
        let asked = || {
            let mut stream = TcpStream::connect(&self.address)?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: registry\r\nConnection: close\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text).map(|_| text)
        };
        let text = asked().map_err(|e| e.to_string())?;
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
        let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
        Ok((status.ok_or_else(|| text.clone())?, body.unwrap_or_default()))
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let log = self.log.clone();
        wait_until("the registry ends", async || {
            let ended = self.child.try_wait().unwrap();
            ended.ok_or_else(|| std::fs::read_to_string(&log).unwrap())
        })
        .await
    }

    /// Ends it in order.
    pub(crate) async fn stop(mut self) {
        self.signal(Signal::TERM);
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

fn command(nats: &Nats) -> Command {
    of(Path::new(PROGRAM), nats)
}

fn of(program: &Path, nats: &Nats) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("CIM_NATS_URL", &nats.url).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Runs a command of the program; its status, stdout and stderr.
pub(crate) fn run(nats: &Nats, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = command(nats)
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Runs a command that needs no server.
pub(crate) fn offline(arguments: &[&str]) -> (Option<i32>, String, String) {
    offline_of(Path::new(PROGRAM), arguments)
}

/// The same of another program.
pub(crate) fn offline_of(program: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(program).env_clear().args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Runs a command to its end; its stdout, and the most memory that it had, in KiB.
pub(crate) async fn peak(nats: &Nats, arguments: &[&str]) -> (String, u64) {
    let mut child = command(nats).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
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

/// Runs a command that reports, and returns the report.
pub(crate) fn report(nats: &Nats, arguments: &[&str]) -> Value {
    let (status, out, err) = run(nats, &[arguments, &["--json"]].concat());
    assert_eq!(status, Some(0), "{err}");
    serde_json::from_str(&out).unwrap()
}
