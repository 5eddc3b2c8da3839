//! The command line.

mod args;
mod check;
mod complete;
mod connect;
mod copy;
mod cost;
mod descriptors;
mod erase;
mod exit;
mod export;
mod key;
mod not_found;
mod progress;
mod query;
mod read;
mod restore;
mod retention;
mod seqs;
mod status;
mod streams;
mod table;
mod tier;
mod verify;

use std::process::ExitCode;

use cim_runtime::output::note;
use clap::{CommandFactory as _, FromArgMatches as _};
use clap_complete::CompleteEnv;

use crate::crypt;
use args::{Cli, Command, KeyArgs, KeyCommand};

/// Runs the program. `commit` is what it was built from, where the build was told.
pub fn main(commit: Option<&str>) -> ExitCode {
    CompleteEnv::with_factory(Cli::command).complete();
    let matches = Cli::command().version(args::version(commit)).get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    if let Command::Completions { shell } = cli.command {
        return ended(show(complete::script(shell)));
    }
    if let Command::Key(KeyArgs { command: KeyCommand::New { recovery } }) = &cli.command {
        return ended(key::new(recovery.as_deref()));
    }
    #[cfg(any(feature = "fail-points", feature = "sabotage"))]
    if let Command::Hooks = cli.command {
        return ended(show(crate::hooks::list()));
    }
    let logging = cim_runtime::logging::init(cli.log_filter()).map_err(exit::Failure::usage);
    ended(logging.and_then(|log| {
        let outcome = run(cli);
        // What was logged comes before what is said last.
        drop(log);
        outcome
    }))
}

fn ended(outcome: Result<(), exit::Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            note(format_args!("error: {}", failure.message()));
            ExitCode::from(failure.status())
        }
    }
}

/// Prints a result.
fn show(text: impl std::fmt::Display) -> Result<(), exit::Failure> {
    cim_runtime::output::print(text).map_err(|error| exit::Failure::other(&error))
}

/// Prints a result as JSON.
fn show_json(result: &impl serde::Serialize) -> Result<(), exit::Failure> {
    show(serde_json::to_string_pretty(result).expect("plain fields are JSON"))
}

fn run(cli: Cli) -> Result<(), exit::Failure> {
    #[cfg(any(feature = "fail-points", feature = "sabotage"))]
    crate::hooks::check().map_err(exit::Failure::usage)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| exit::Failure::other(&error))?;
    let done = runtime.block_on(async {
        let config = connect::config(&cli.config)?;
        crypt::install(crypt::Keyring::read(config.archive.encryption.as_ref())?);
        match cli.command {
            Command::Tier(args) => tier::run(config, args).await,
            Command::Check => check::run(&config).await,
            Command::Status(args) => status::run(config, args).await,
            Command::Streams(args) => streams::run(&config, args).await,
            Command::Query(args) => query::run(&config, args).await,
            Command::Export(args) => export::run(&config, args).await,
            Command::Restore(args) => restore::run(&config, args).await,
            Command::Cost(args) => cost::run(&config, &args).await,
            Command::Retention(args) => retention::run(&config, &args).await,
            Command::Verify(args) => verify::run(&config, args).await,
            Command::Copy(args) => copy::run(&config, args).await,
            Command::Erase(args) => erase::run(&config, args).await,
            Command::Key(KeyArgs { command }) => key::run(&config, command).await,
            Command::Completions { .. } => unreachable!("it needs no configuration and is done"),
            #[cfg(feature = "fail-points")]
            Command::Aged { streams, days } => {
                let shape = crate::journal::aged::Shape { streams, days };
                let made = crate::journal::aged::run(&config, shape).await;
                made.map_err(|error| exit::Failure::other(&*error))
            }
            #[cfg(any(feature = "fail-points", feature = "sabotage"))]
            Command::Hooks => unreachable!("it needs no configuration and is done"),
        }
    });
    // What still blocks (a read whose result is not awaited) must not hold the process.
    runtime.shutdown_background();
    done
}
