//! The command line of every component: `serve`, `rebuild`, `digest`, `schema`, `completions`, and a component's own.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use clap_complete::env::{CompleteEnv, Shells};

use super::aggregate::Aggregate;
use super::serve::{self, Failure, Place, Report};
use super::settings::Settings;
use crate::output::{note, print};

#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
struct Cli<C: Subcommand> {
    #[command(subcommand)]
    command: Option<Command<C>>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Subcommand)]
enum Command<C: Subcommand> {
    /// Answer requests (the default)
    Serve,
    /// Fold all events anew, and write the views that differ
    Rebuild {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the SHA-256 of the state's canonical JSON
    Digest {
        /// Fold the events up to this sequence only
        #[arg(long, value_name = "SEQUENCE")]
        at: Option<u64>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schemas of events, requests and replies: their names, or one of them
    Schema {
        /// A name: `<type>/v<version>`
        name: Option<String>,
    },
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    #[command(flatten)]
    Own(C),
    /// Print the test hooks of this build as JSON
    #[cfg(feature = "fail-points")]
    #[command(hide = true)]
    Hooks,
}

/// Commands that a component has beside those of every component.
pub trait Own<A: Aggregate>: Subcommand + Sync {
    /// Runs one of them.
    fn run(&self, at: Place<'_>) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// No command beside those of every component.
#[derive(Debug, Subcommand)]
pub enum NoOther {}

impl<A: Aggregate> Own<A> for NoOther {
    async fn run(&self, _: Place<'_>) -> Result<(), Failure> {
        match *self {}
    }
}

/// Runs a component. `commit` is the commit of the build, where the build was told.
///
/// Exit statuses: 0, 1 a bug, 2 the settings, 3 NATS or its stream or bucket, 4 an event that cannot be read.
pub fn main<A: Aggregate, C: Own<A>>(commit: Option<&str>) -> ExitCode {
    let named = || Cli::<C>::command().name(A::PROGRAM).bin_name(A::PROGRAM).about(A::ABOUT);
    CompleteEnv::with_factory(named).complete();
    let version: &'static str = match commit {
        // Once a process, and clap wants it for as long.
        Some(commit) => String::leak(format!("{} ({commit})", A::VERSION)),
        None => A::VERSION,
    };
    let matches = named().version(version).get_matches();
    let cli = Cli::<C>::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match run::<A, C>(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            note(format_args!("error: {}", crate::error::chain(&failure)));
            ExitCode::from(failure.status())
        }
    }
}

fn run<A: Aggregate, C: Own<A>>(cli: &Cli<C>) -> Result<(), Failure> {
    let shown = |text: String| print(text).map_err(|error| Failure::Other(error.to_string()));
    match &cli.command {
        Some(Command::Schema { name }) => return shown(schema::<A>(name.as_deref())?),
        Some(Command::Completions { shell }) => return shown(completions(A::PROGRAM, *shell)),
        #[cfg(feature = "fail-points")]
        Some(Command::Hooks) => {
            let points = super::points::ALL.map(|point| point.trim_start_matches("fail-point/"));
            return shown(
                serde_json::json!({ "fail_points": points, "sabotages": [] }).to_string(),
            );
        }
        _ => {}
    }
    let log = crate::logging::init(&cli.settings.log).map_err(Failure::Usage)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Other(error.to_string()))?;
    let done = runtime.block_on(async {
        let cancel = crate::shutdown::on_signal();
        let cancel = cancel.map_err(|error| Failure::Other(error.to_string()))?;
        match &cli.command {
            None | Some(Command::Serve) => serve::serve::<A>(&cli.settings, cancel).await,
            Some(Command::Rebuild { json }) => {
                shown(text(&serve::rebuild::<A>(&cli.settings).await?, *json))
            }
            Some(Command::Digest { at, json }) => {
                shown(text(&serve::digest_at::<A>(&cli.settings, *at).await?, *json))
            }
            Some(Command::Own(own)) => own.run(Place::new(&cli.settings)).await,
            Some(_) => unreachable!("these need no runtime and are done"),
        }
    });
    runtime.shutdown_background();
    drop(log);
    done
}

fn text(report: &Report, json: bool) -> String {
    let value = serde_json::to_value(report).expect("plain fields are JSON");
    if json {
        return value.to_string();
    }
    let field = |name: &str| value[name].to_string().trim_matches('"').to_owned();
    let mut line =
        format!("{}  {} at sequence {}", field("digest"), field("component"), field("sequence"));
    for name in ["events", "unknown", "views_changed"] {
        if !value[name].is_null() {
            let _ = write!(line, ", {} {}", value[name], name.replace('_', " "));
        }
    }
    line
}

fn schema<A: Aggregate>(name: Option<&str>) -> Result<String, Failure> {
    let schemas = A::schemas();
    let Some(name) = name else {
        return Ok(schemas.into_keys().collect::<Vec<_>>().join("\n"));
    };
    let Some(found) = schemas.get(name) else {
        let names: Vec<_> = schemas.keys().map(String::as_str).collect();
        let names = names.join(", ");
        return Err(Failure::Usage(format!("`{name}` is no schema: there are {names}")));
    };
    Ok(serde_json::to_string_pretty(found).expect("a schema is JSON"))
}

fn completions(name: &str, shell: clap_complete::Shell) -> String {
    let (shell, mut script) = (shell.to_string(), Vec::new());
    let shells = Shells::builtins();
    let asks = shells.completer(&shell).expect("a shell that has a script can ask too");
    asks.write_registration("COMPLETE", name, name, name, &mut script).expect("memory takes it");
    String::from_utf8_lossy(&script).trim().to_owned()
}
