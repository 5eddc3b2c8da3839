//! The process of a MinIO.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cim_testing::{required_tool, wait_until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

use super::ports::{free_ports, listens};
use super::{Authority, Child, SECRET, USER};

/// Runs a program, and ends it and removes a folder when its stdin ends: with the process that holds the other end.
const GUARD: &str = r#""$@" & cat >/dev/null; kill -9 $!; wait $! 2>/dev/null; rm -rf "$0""#;

pub(super) struct MinioProcess {
    pub(super) url: String,
    /// On a single drive MinIO's buckets are folders of this one.
    pub(super) data: PathBuf,
    port: u16,
    child: Child,
}

impl MinioProcess {
    /// Starts one below a folder; with the certificate of an authority, if there is one.
    pub(super) async fn start(dir: &Path, authority: Option<&Authority>) -> Self {
        Self::start_at(dir, None, authority).await
    }

    async fn start_at(dir: &Path, port: Option<u16>, authority: Option<&Authority>) -> Self {
        let data = dir.join("nas");
        std::fs::create_dir_all(&data).unwrap();
        if let Some(authority) = authority {
            authority.sign(&dir.join("certificates"));
        }
        loop {
            // Between finding a port and taking it another process may take it: then once more.
            let [free] = free_ports();
            let port = port.unwrap_or(free);
            let mut child = Child::spawn(&mut command(dir, &data, port));
            let started = wait_until("MinIO listens", async || {
                if child.try_wait().is_some() {
                    return Ok(false);
                }
                if !listens(child.pid(), port) {
                    return Err("another process may have taken the port".into());
                }
                is_ready(port, authority.is_some()).await.map(|()| true)
            })
            .await;
            if started {
                let scheme = if authority.is_some() { "https" } else { "http" };
                return Self { url: format!("{scheme}://127.0.0.1:{port}"), data, port, child };
            }
        }
    }

    /// Kills it and starts it again at the same address, with a certificate of this authority.
    pub(super) async fn start_again(&mut self, authority: &Authority) {
        self.child.kill();
        let dir = self.data.parent().expect("it has one").to_owned();
        *self = Self::start_at(&dir, Some(self.port), Some(authority)).await;
    }

    pub(super) fn kill(&mut self) {
        self.child.kill();
    }
}

fn command(dir: &Path, data: &Path, port: u16) -> Command {
    let log = std::fs::File::create(dir.join("minio.log")).unwrap();
    let mut command = Command::new(required_tool("bin/minio"));
    command
        .args(["server", "--quiet", "--address", &format!("127.0.0.1:{port}")])
        .arg("--certs-dir")
        .arg(dir.join("certificates"))
        .arg(data)
        .env("MINIO_ROOT_USER", USER)
        .env("MINIO_ROOT_PASSWORD", SECRET)
        .env("MINIO_BROWSER", "off")
        .stdout(Stdio::null())
        .stderr(log);
    command
}

/// The MinIO that the tests of this process share, each with a bucket of its own: starting one takes as much of the
/// processor as many a test.
pub(super) struct SharedMinio {
    pub(super) url: String,
    pub(super) data: PathBuf,
    /// Ends the server when this process is gone, however that ended.
    _guard: std::process::Child,
}

impl SharedMinio {
    pub(super) async fn get() -> &'static Self {
        static SHARED: OnceCell<SharedMinio> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await
    }

    async fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("shared-minio-").tempdir().unwrap().keep();
        let data = dir.join("nas");
        std::fs::create_dir_all(&data).unwrap();
        loop {
            let [port] = free_ports();
            let minio = command(&dir, &data, port);
            let mut guard = Command::new("sh");
            guard.args(["-c", GUARD]).arg(&dir).arg(minio.get_program()).args(minio.get_args());
            for (name, value) in minio.get_envs() {
                guard.env(name, value.unwrap_or_default());
            }
            let mut guard = guard.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
            let started = wait_until("the shared MinIO listens", async || {
                // Its port was taken: the shell waits for the end all the same.
                let log = std::fs::read_to_string(dir.join("minio.log")).unwrap_or_default();
                if log.contains("already in use") {
                    return Ok(false);
                }
                is_ready(port, false).await.map(|()| true)
            })
            .await;
            if started {
                return Self { url: format!("http://127.0.0.1:{port}"), data, _guard: guard };
            }
            drop(guard.kill());
            drop(guard.wait());
        }
    }
}

/// Asks MinIO whether it can write, which it cannot as soon as it listens. With TLS it is enough that it listens.
async fn is_ready(port: u16, encrypted: bool) -> Result<(), String> {
    let ask = async {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
        if encrypted {
            return Ok(" 200 ".to_owned());
        }
        let request =
            b"GET /minio/health/cluster HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        socket.write_all(request).await?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer.lines().next().unwrap_or_default().to_owned())
    };
    let status = ask.await.map_err(|error| error.to_string())?;
    if status.contains(" 200 ") { Ok(()) } else { Err(status) }
}
