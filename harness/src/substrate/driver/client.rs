//! `cim-harness driver`: the driver's end of the socket.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::protocol::{Hear, LINE, Outcome, Request, Say};
use crate::error::{Error, Result};

/// `cim-harness driver`
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit status:
  0  done
  2  the harness refuses it: answered twice, not open, not understood
  3  no harness listens on the socket

docs/driver.md describes the protocol.")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Waits for the next request and prints it as one line of JSON.
    Next {
        /// The harness's socket.
        #[arg(long, value_name = "PATH", env = "CIM_DRIVER_SOCKET")]
        socket: PathBuf,
    },
    /// Answers a request.
    Done {
        /// The request.
        id: u64,
        /// The harness's socket.
        #[arg(long, value_name = "PATH", env = "CIM_DRIVER_SOCKET")]
        socket: PathBuf,
        /// The result of an `exec`: {"status":0,"stdout":"…","stderr":"…"}.
        #[arg(long, value_name = "JSON")]
        result: Option<String>,
        /// The request could not be done, and why.
        #[arg(long, value_name = "TEXT", conflicts_with = "result")]
        error: Option<String>,
    },
}

/// Sends one message, and prints the request that comes back.
pub(crate) fn run(args: Args) -> Result<ExitCode> {
    match args.command {
        Command::Next { socket } => {
            let request = match talk(&socket, &Say::Next)? {
                Hear::Request(request) => request,
                Hear::Refused(why) => return Err(Error::Usage(why)),
                Hear::Taken => {
                    return Err(Error::setup("the harness does not speak this protocol"));
                }
            };
            print(&request)?;
        }
        Command::Done { id, socket, result, error } => {
            let result: Outcome = match result {
                Some(text) => serde_json::from_str(&text)
                    .map_err(|e| Error::Usage(format!("`--result` is not an outcome: {e}")))?,
                None => Outcome::default(),
            };
            match talk(&socket, &Say::Done { id, result, error })? {
                Hear::Taken => {}
                Hear::Refused(why) => return Err(Error::Usage(why)),
                Hear::Request(_) => {
                    return Err(Error::setup("the harness does not speak this protocol"));
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print(request: &Request) -> Result<()> {
    let line = serde_json::to_string(request).expect("a request is JSON");
    // A request that was not printed counts as not taken: nothing was done.
    writeln!(std::io::stdout(), "{line}")
        .map_err(|e| Error::Setup("cannot print the request".into(), Some(e.into())))
}

fn talk(socket: &Path, say: &Say) -> Result<Hear> {
    let gone = |error: std::io::Error| {
        let what = format!("no harness answers on `{}`", socket.display());
        Error::Setup(what, Some(error.into()))
    };
    let line = serde_json::to_string(say).expect("plain fields are JSON");
    if line.len() > LINE {
        let what = format!("an answer has at most {LINE} bytes: give the end of long texts");
        return Err(Error::Usage(what));
    }
    let mut stream = UnixStream::connect(socket).map_err(gone)?;
    writeln!(stream, "{line}").map_err(gone)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).map_err(gone)?;
    serde_json::from_str(&answer)
        .map_err(|_| Error::setup(format!("the harness on `{}` has ended", socket.display())))
}
