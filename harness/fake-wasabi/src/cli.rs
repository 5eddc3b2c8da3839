//! The command line.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use cim_fake_wasabi::{Config, Credentials, FakeWasabi, StartError, behaviour};
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::env::Shells;
use clap_complete::{CompleteEnv, Shell};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

const ABOUT: &str = "An S3 server that behaves like Wasabi, bad days included. For tests only";

const AFTER_HELP: &str = "\
Exit status:
  0  stopped by SIGTERM or SIGINT
  1  an error that is not below; the last line on stderr says which
  2  the command line is wrong
  3  the directory cannot be used: in use, not one of this program's, damaged, or not writable
  4  an address cannot be listened on, or is not loopback";

const SERVE_HELP: &str = "\
Once S3 is served, one line of JSON goes to stdout, and nothing else ever does:
  {\"s3\":\"http://127.0.0.1:40111\",\"admin\":\"http://127.0.0.1:40112\"}

Examples:
  cim-fake-wasabi serve --dir /tmp/wasabi --access-key test --secret-key testtest --create-bucket tier
  curl -X PUT http://127.0.0.1:40112/faults -d '[{\"fault\":\"slow_down\",\"count\":3}]'
  curl http://127.0.0.1:40112/stats

Logs go to stderr; RUST_LOG sets what is logged (default: info).";

#[derive(Debug, Parser)]
#[command(name = "cim-fake-wasabi", version, about = ABOUT, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve S3 and the admin endpoint until SIGTERM or SIGINT
    #[command(after_help = SERVE_HELP)]
    Serve(Box<Serve>),
    /// Print how Wasabi behaves, with the source of each row, and what this server makes of it
    Behaviour {
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
struct Serve {
    /// Directory that everything is stored in; created when it does not exist
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Address that S3 is served on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Address of the admin endpoint (faults, stats, clock); port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    admin_listen: SocketAddr,
    /// Access key that may sign requests
    #[arg(
        long,
        env = "CIM_FAKE_WASABI_ACCESS_KEY",
        requires = "secret_key",
        value_name = "KEY",
        required_unless_present = "credentials_file"
    )]
    access_key: Option<String>,
    /// Its secret; better in the environment, since every user can read a command line
    #[arg(
        long,
        env = "CIM_FAKE_WASABI_SECRET_KEY",
        requires = "access_key",
        hide_env_values = true,
        value_name = "SECRET"
    )]
    secret_key: Option<String>,
    /// File with more key pairs, in the format of ~/.aws/credentials; each may sign requests
    #[arg(long, value_name = "FILE")]
    credentials_file: Option<PathBuf>,
    /// Region that buckets are in; `behaviour` lists Wasabi's
    #[arg(long, default_value = "us-east-1")]
    region: String,
    /// Create this bucket when it does not exist; may be given more than once
    #[arg(long, value_name = "NAME")]
    create_bucket: Vec<String>,
    /// Ignore If-None-Match and If-Match on writes, as some S3 services do
    #[arg(long)]
    no_conditional_writes: bool,
    /// Do not sync to disk: faster, still safe against kill -9, not against a power cut
    #[arg(long)]
    no_fsync: bool,
    /// Seed that random faults are drawn from
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Host name under which BUCKET.NAME means a bucket; may be given more than once
    #[arg(long, value_name = "NAME")]
    domain: Vec<String>,
    /// Write the line that goes to stdout to this file as well
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
    /// Serve on an address that is not loopback
    #[arg(long)]
    i_know_this_is_a_fake: bool,
}

/// The line that says where the server is.
#[derive(Serialize)]
struct Ready {
    s3: String,
    admin: String,
}

/// Runs the command line and turns the outcome into an exit status.
pub(crate) fn main() -> ExitCode {
    CompleteEnv::with_factory(Cli::command).complete();
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing can be done if stderr is closed as well.
            let _ = writeln!(io::stderr(), "error: {}", chain(&error));
            ExitCode::from(exit_status(&error))
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Serve(options) => {
            log_to_stderr();
            let runtime = tokio::runtime::Runtime::new().context("failed to start tokio")?;
            runtime.block_on(serve(*options))
        }
        Command::Behaviour { json } => {
            let text = if json {
                serde_json::to_string_pretty(behaviour::TABLE)?
            } else {
                behaviour::render()
            };
            print(&text)
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            let (shell, name) = (shell.to_string(), "cim-fake-wasabi");
            let shells = Shells::builtins();
            let asks = shells.completer(&shell).context("no such shell")?;
            asks.write_registration("COMPLETE", name, name, name, &mut script)?;
            print(String::from_utf8(script)?.trim_end())
        }
    }
}

async fn serve(options: Serve) -> anyhow::Result<()> {
    let mut credentials = Vec::new();
    if let (Some(access_key), Some(secret_key)) = (options.access_key, options.secret_key) {
        credentials.push(Credentials::new(access_key, secret_key));
    }
    if let Some(path) = &options.credentials_file {
        credentials.extend(Credentials::from_file(path)?);
    }
    // Before serving, so that no signal is lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let wasabi = FakeWasabi::start(Config {
        listen: options.listen,
        admin_listen: options.admin_listen,
        allow_any_address: options.i_know_this_is_a_fake,
        credentials,
        region: options.region,
        buckets: options.create_bucket,
        conditional_writes: !options.no_conditional_writes,
        fsync: !options.no_fsync,
        seed: options.seed,
        domains: options.domain,
        ..Config::new(options.dir)
    })
    .await?;
    let ready = Ready { s3: wasabi.s3_url(), admin: wasabi.admin_url() };
    let ready = serde_json::to_string(&ready)?;
    print(&ready)?;
    if let Some(path) = &options.ready_file {
        write_ready(path, &ready)
            .with_context(|| format!("failed to write the ready file `{}`", path.display()))?;
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    wasabi.shutdown().await;
    Ok(())
}

/// Writes the ready file under another name and renames it, so that a reader never finds half of it.
fn write_ready(path: &Path, ready: &str) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    std::fs::write(&name, format!("{ready}\n"))?;
    std::fs::rename(&name, path)
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        // `… | head` is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("failed to write to stdout"),
    }
}

fn log_to_stderr() {
    // s3s logs every error that this server answers on purpose; the service logs what matters.
    let default = || EnvFilter::new("info,s3s=off");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| default());
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(colour)
        // Otherwise it prints its own errors, and panics when that fails too.
        .log_internal_errors(false)
        .init();
}

/// Returns the error and its causes on one line.
fn chain(error: &anyhow::Error) -> String {
    let causes: Vec<_> = error.chain().map(ToString::to_string).collect();
    causes.join(": ")
}

fn exit_status(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<StartError>() {
        Some(
            StartError::NoCredentials
            | StartError::Credentials { .. }
            | StartError::BucketName { .. },
        ) => 2,
        Some(
            StartError::Dir { .. }
            | StartError::InUse { .. }
            | StartError::Foreign { .. }
            | StartError::Layout { .. }
            | StartError::Damaged { .. },
        ) => 3,
        Some(StartError::NotLoopback { .. } | StartError::Listen { .. }) => 4,
        _ => 1,
    }
}
