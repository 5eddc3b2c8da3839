//! The programs that can be a lab's NAS: where each listens, how it is started and how it is
//! prepared.
//!
//! The lab uses the service's own keys, as it uses `MinIO`'s: restricted keys for the storage
//! manager exist only on machines.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use super::{Access, Kind, Options};
use crate::error::{Context as _, Error, Result, make_dir, write_file};
use crate::lab::ports;
use crate::lab::process::Spec;

/// The most ports that a service needs: SeaweedFS has four servers with a port for gRPC each.
const PORTS: usize = 8;
const TOLD_WITHIN: Duration = Duration::from_secs(60);

/// The ports of a service. SeaweedFS finds its parts by their ports, so they are kept on its disk
/// for the next start.
#[derive(Debug)]
pub(super) struct Place {
    ports: [SocketAddr; PORTS],
    /// True if the service was never started on this disk before.
    is_new: bool,
}

/// Sockets that a service makes in /tmp and leaves there when it is killed.
#[derive(Debug, Default)]
pub(super) struct Sockets(Vec<PathBuf>);

impl Drop for Sockets {
    fn drop(&mut self) {
        for path in &self.0 {
            // The service may not have made it.
            drop(std::fs::remove_file(path));
        }
    }
}

fn ports_file(dir: &Path) -> PathBuf {
    dir.join("lab-ports.json")
}

/// The parts of SeaweedFS, in the order of their ports.
const PARTS: [&str; 4] = ["s3", "master", "volume", "filer"];

impl Place {
    /// Returns free ports, or those that the service had on this disk.
    pub(super) fn of(options: &Options) -> Result<Self> {
        if let (Kind::Seaweedfs, file) = (options.kind, ports_file(&options.dir)) {
            let cannot = || format!("cannot read `{}`", file.display());
            match std::fs::read_to_string(&file) {
                Ok(text) => {
                    let ports = serde_json::from_str(&text).step(cannot)?;
                    return Ok(Self { ports, is_new: false });
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).step(cannot),
            }
        }
        Ok(Self { ports: ports::free()?, is_new: true })
    }

    /// Returns the address that serves S3.
    pub(super) fn s3(&self) -> SocketAddr {
        self.ports[0]
    }

    /// Returns a part of SeaweedFS with its ports, for HTTP and for gRPC.
    fn parts(&self) -> impl Iterator<Item = (&'static str, u16, u16)> {
        let (http, grpc) = self.ports.split_at(PARTS.len());
        PARTS
            .into_iter()
            .zip(http.iter().zip(grpc))
            .map(|(part, (http, grpc))| (part, http.port(), grpc.port()))
    }

    /// Returns the sockets that a killed service leaves in /tmp.
    pub(super) fn sockets(&self, kind: Kind) -> Sockets {
        if kind != Kind::Seaweedfs {
            return Sockets::default();
        }
        let sockets = self.parts().flat_map(|(part, http, grpc)| {
            [format!("seaweedfs-{part}-grpc-{grpc}.sock"), format!("seaweedfs-{part}-{http}.sock")]
        });
        Sockets(sockets.map(|name| Path::new("/tmp").join(name)).collect())
    }

    /// Makes the bucket directory that versitygw needs before it starts. The client cannot make one
    /// by S3: it sends `us-east-1` as the location, a name that S3 does not have.
    pub(super) fn make_ready(options: &Options) -> Result<()> {
        if options.kind == Kind::Versitygw {
            make_dir(&options.dir.join(&options.bucket))?;
        }
        Ok(())
    }

    /// Returns the command that starts the service.
    pub(super) fn spec(&self, options: &Options, program: &Path, access: &Access) -> Spec {
        let mut spec = Spec::new(&options.name, program);
        let addr = self.s3().to_string();
        spec = match options.kind {
            Kind::Seaweedfs => self.seaweedfs(spec, &options.dir),
            Kind::Versitygw => {
                let spec = ["--quiet", "--port", &addr, "--region", &access.region, "posix"]
                    .into_iter()
                    .fold(spec, Spec::arg);
                spec.arg(&options.dir)
            }
            Kind::Minio | Kind::FakeWasabi => {
                let console = self.ports[1].to_string();
                let spec = ["server", "--address", &addr, "--console-address", &console]
                    .into_iter()
                    .fold(spec, Spec::arg);
                spec.arg(&options.dir)
            }
        };
        spec.env.extend(options.kind.env(access));
        spec
    }

    fn seaweedfs(&self, spec: Spec, dir: &Path) -> Spec {
        let spec = [
            "-logtostderr=true",
            "server",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-filer",
            "-s3",
            // These serve other protocols, or contact other hosts.
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-master.telemetry=false",
            "-s3.autoCreateBucket=false",
            // Volumes grow as they are written; this is their highest number.
            "-volume.max=100",
            "-master.volumeSizeLimitMB=1024",
            "-volume.preStopSeconds=1",
        ]
        .into_iter()
        .fold(spec, Spec::arg);
        let spec = self.parts().fold(spec, |spec, (part, http, grpc)| {
            spec.arg(format!("-{part}.port={http}")).arg(format!("-{part}.port.grpc={grpc}"))
        });
        spec.arg(format!("-dir={}", dir.display()))
    }

    /// Prepares a service that runs for the first time: SeaweedFS is told to sync every write.
    pub(super) async fn prepare(&self, options: &Options, program: &Path) -> Result<()> {
        if options.kind != Kind::Seaweedfs || !self.is_new {
            return Ok(());
        }
        let cannot = || "`weed shell` cannot make SeaweedFS sync what it writes".to_owned();
        let told = tokio::time::timeout(TOLD_WITHIN, self.weed_shell(program)).await;
        let said = told.step(cannot)?.step(cannot)?;
        if !said.contains("\"fsync\":") {
            let said = said.trim().replace('\n', " | ");
            return Err(Error::setup(format!("{}: {said}", cannot())));
        }
        let ports = serde_json::to_string(&self.ports).expect("ports are JSON");
        write_file(&ports_file(&options.dir), ports)
    }

    async fn weed_shell(&self, program: &Path) -> std::io::Result<String> {
        let (mut master, mut filer) = (String::new(), String::new());
        for (part, http, grpc) in self.parts() {
            // The form in which SeaweedFS writes an address whose gRPC port is not 10000 above the
            // other.
            let address = format!("127.0.0.1:{http}.{grpc}");
            match part {
                "master" => master = address,
                "filer" => filer = address,
                _ => {}
            }
        }
        let mut shell = tokio::process::Command::new(program)
            .args(["shell", "-master", &master, "-filer", &filer])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut orders = shell.stdin.take().expect("it is piped");
        orders.write_all(b"fs.configure -locationPrefix=/buckets/ -fsync -apply\n").await?;
        drop(orders);
        let output = shell.wait_with_output().await?;
        let said = [output.stdout, output.stderr].concat();
        Ok(String::from_utf8_lossy(&said).into_owned())
    }
}
