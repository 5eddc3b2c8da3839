//! Arguments.

use std::path::PathBuf;
use std::time::Duration;

use cim_core::archive::SeqRange;
use cim_core::names::{StreamName, SubjectFilter};
use clap::{Args, Parser, Subcommand};
use clap_complete::ArgValueCandidates;
use jiff::Timestamp;

use super::complete::streams;
use super::seqs::seqs;
use crate::config::DEFAULT_FILE;
use crate::export::Format;
use crate::s3::Tier;

/// Tiers JetStream streams to S3 and restores them exactly.
#[derive(Debug, Parser)]
#[command(max_term_width = 100, after_help = EXIT)]
pub(super) struct Cli {
    /// The configuration file (docs/storage-manager.md explains it)
    #[arg(
        long,
        short,
        global = true,
        env = "CIM_CONFIG",
        value_name = "FILE",
        default_value = DEFAULT_FILE
    )]
    pub(super) config: PathBuf,
    /// What to log to stderr: `warn`, `debug`, `cim_storage_manager=trace`, … [default: `info` for
    /// the daemon, `warn` for commands]
    #[arg(long, global = true, env = "RUST_LOG", value_name = "FILTER")]
    pub(super) log: Option<String>,
    #[command(subcommand)]
    pub(super) command: Command,
}

impl Cli {
    /// Returns the log filter: a daemon's log tells its story, a command's shows failures only.
    pub(super) fn log_filter(&self) -> &str {
        let default = if matches!(self.command, Command::Tier(_)) { "info" } else { "warn" };
        self.log.as_deref().unwrap_or(default)
    }
}

/// A test build says so wherever versions are read.
#[cfg(not(any(feature = "fail-points", feature = "sabotage")))]
const VERSION: &str = env!("CARGO_PKG_VERSION");
#[cfg(any(feature = "fail-points", feature = "sabotage"))]
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "+sabotaged");

/// Returns what `--version` says behind the name.
pub(super) fn version(commit: Option<&str>) -> &'static str {
    commit.map_or(VERSION, |commit| format!("{VERSION} ({commit})").leak())
}

const EXIT: &str = "Exit status:
  0  done
  1  something unforeseen
  2  the command line or the configuration is wrong
  3  NATS cannot be reached, or refuses the credentials
  4  S3 cannot be reached, refuses the credentials, or is full
  5  the archive is damaged, at least of one stream; `restore` brings the others back
  6  refused: the target exists, or the server cannot take it; `restore` brings the others back; `erase`: the
     live stream has them still, or a bucket keeps some
  7  the tier holds no archive
  8  `status --check`: a stream is behind; `copy`: the archive was written to meanwhile
  9  the archive is encrypted with a key that the configuration does not have
  130  interrupted";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Tier every stream that the configuration names, until SIGTERM or SIGINT
    #[command(
        after_help = "The first signal flushes what there is and ends; a second one ends at once.\nEither way the next start goes on where the archive ends. Where NATS or the NAS is away it may take 25 s."
    )]
    Tier(TierArgs),
    /// Try all that tiering needs: every right at NATS and S3, and what the services honour
    #[command(
        after_help = "Writes and deletes a few objects below `v1/probe/` of each tier; asks NATS nothing that changes anything.\nAll that is missing is said in one line, with what to allow. `tier` looks for the same before it is ready."
    )]
    Check,
    /// Show how far each stream is on each tier
    #[command(
        after_help = "Examples:\n  cim-storage-manager status\n  cim-storage-manager status --check --max-lag 30s --max-lag-wasabi 15m"
    )]
    Status(StatusArgs),
    /// Show what a tier's archive holds; needs no NATS
    Streams(StreamsArgs),
    /// Show messages of a stream's archive; needs no NATS
    #[command(
        after_help = "Examples:\n  cim-storage-manager query ORDERS --since 2026-11-23T03:00:00Z --subject 'orders.eu.>'\n  cim-storage-manager query ORDERS --since-seq 4711 --limit 1 --json"
    )]
    Query(QueryArgs),
    /// Write messages of a stream's archive as NDJSON, CSV or Parquet; needs no NATS
    #[command(
        after_help = "Examples:\n  cim-storage-manager export ORDERS | jq -r .payload\n  cim-storage-manager export ORDERS --format parquet --output orders\n  duckdb -c \"select count(*) from 'orders/*.parquet'\""
    )]
    Export(ExportArgs),
    /// Bring streams back, exactly
    #[command(
        after_help = "Examples:\n  cim-storage-manager restore --all\n  cim-storage-manager restore ORDERS --from wasabi\n  cim-storage-manager restore ORDERS --until 2026-11-23T03:00:00Z --as ORDERS_0300 --subjects 'restored.>'\n  cim-storage-manager restore ORDERS --dry-run"
    )]
    Restore(RestoreArgs),
    /// Show how much lies on each tier, by stream, and what that costs a month; needs no NATS
    Cost(Show),
    /// Show what the retention rules would remove from the archive now, and remove nothing; needs no NATS
    #[command(
        after_help = "The storage manager removes it while it runs. Try a new configuration before it takes effect with `--config`:\n\n  cim-storage-manager --config new.toml retention"
    )]
    Retention(Show),
    /// Read a tier's archive and check every hash and count
    Verify(VerifyArgs),
    /// Copy a tier's archive into another bucket, to move to another service; needs no NATS
    #[command(
        after_help = "Each object is checked before it is copied; objects that the target has already are not copied again. While the storage\nmanager runs this ends with status 8, a few seconds behind: stop it, run this again, and start it with the\nnew configuration. JetStream keeps what comes meanwhile.\n\nExamples:\n  cim-storage-manager copy --to /etc/cim/new-nas.toml --dry-run\n  cim-storage-manager copy --to /etc/cim/new-nas.toml"
    )]
    Copy(CopyArgs),
    /// Erase messages of some subjects from the archive for good, on both tiers, at a person's request
    #[command(
        after_help = "Purge them from the live stream first: this ends with status 6 while that has one of them. The storage manager\nmay run: it makes way for some seconds. What was erased is named by sequence in a note that is signed and stays in\nthe archive; write no names into the reason. Run it again where it was interrupted. docs/recovery.md says where else\ncopies may be.\n\nExamples:\n  nats stream purge USERS --subject 'users.4711.>'\n  cim-storage-manager erase USERS --subject 'users.4711.>' --dry-run\n  cim-storage-manager erase USERS --subject 'users.4711.>' --reason 'request 2026-118' --key /root/erasures.nk"
    )]
    Erase(EraseArgs),
    /// Make keys of an encrypted archive, and show which one an object takes
    Key(KeyArgs),
    /// Print which test hooks this build has, as JSON
    #[cfg(any(feature = "fail-points", feature = "sabotage"))]
    #[command(hide = true)]
    Hooks,
    /// Make what an archive is after a year, in empty buckets
    #[cfg(feature = "fail-points")]
    #[command(hide = true)]
    Aged {
        /// Streams that it has
        #[arg(long, default_value_t = 100)]
        streams: usize,
        /// Days that it is old
        #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u64).range(20..))]
        days: u64,
    },
    /// Print a shell's completion script
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(super) struct TierArgs {
    /// Create this file once connected and probed
    #[arg(long, value_name = "PATH")]
    pub(super) ready_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// Print JSON instead of a table
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Print one line, and end with status 8 if a stream is further behind than allowed
    #[arg(long)]
    pub(super) check: bool,
    /// The greatest age of the oldest message that the NAS does not hold yet
    #[arg(long, value_name = "TIME", requires = "check", default_value = "30s", value_parser = time)]
    pub(super) max_lag: Duration,
    /// The same for Wasabi [default: twice the interval of the configuration, and 10m at least]
    #[arg(long, value_name = "TIME", requires = "check", value_parser = time)]
    pub(super) max_lag_wasabi: Option<Duration>,
    #[command(flatten)]
    pub(super) show: Show,
}

/// Reads a time such as `30s` or `10m`.
fn time(text: &str) -> Result<Duration, String> {
    let time: jiff::SignedDuration = text.parse().map_err(|_| "a time is like 30s or 10m")?;
    Duration::try_from(time).map_err(|_| "a time is not below zero".into())
}

#[derive(Debug, Args)]
pub(super) struct StreamsArgs {
    /// The streams; all when none is named
    #[arg(add = ArgValueCandidates::new(streams))]
    pub(super) streams: Vec<StreamName>,
    /// Also the files that the newest timeline's messages are in, and which of their sequences count
    #[arg(long)]
    pub(super) files: bool,
    /// The tier to read
    #[arg(long, value_enum, default_value_t = Tier::Nas)]
    pub(super) from: Tier,
    #[command(flatten)]
    pub(super) show: Show,
}

/// The messages that are read.
#[derive(Debug, Args)]
pub(super) struct ReadArgs {
    /// The stream
    #[arg(add = ArgValueCandidates::new(streams))]
    pub(super) stream: StreamName,
    /// The tier to read
    #[arg(long, value_enum, default_value_t = Tier::Nas)]
    pub(super) from: Tier,
    /// Only messages on these subjects
    #[arg(long, value_name = "FILTER")]
    pub(super) subject: Option<SubjectFilter>,
    /// Only from this sequence on
    #[arg(long, value_name = "SEQ")]
    pub(super) since_seq: Option<u64>,
    /// Only messages that are not earlier than this (RFC 3339)
    #[arg(long = "since", value_name = "TIME", value_parser = moment)]
    pub(super) since_time: Option<Timestamp>,
    /// Only up to this sequence
    #[arg(long, value_name = "SEQ")]
    pub(super) until_seq: Option<u64>,
    /// Only what comes before the first message that is later than this (RFC 3339)
    #[arg(long = "until", value_name = "TIME", value_parser = moment)]
    pub(super) until_time: Option<Timestamp>,
    /// Another timeline than the newest (`streams` lists them)
    #[arg(long, value_name = "N")]
    pub(super) timeline: Option<u32>,
    /// Also what the stream had dropped by its limits, purges and deletes
    #[arg(long)]
    pub(super) with_dropped: bool,
    /// Read from this tier alone, even when another has what is missing here
    #[arg(long)]
    pub(super) no_fallback: bool,
}

/// Reads a point in time.
fn moment(text: &str) -> Result<Timestamp, String> {
    let time = text.parse();
    time.map_err(|_| "a time has a date, a time and an offset, as 2026-11-23T03:00:00Z has".into())
}

#[derive(Debug, Args)]
pub(super) struct QueryArgs {
    #[command(flatten)]
    pub(super) read: ReadArgs,
    /// Most messages that are shown
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(super) limit: usize,
    /// Print a JSON object a message, one a line, instead of a table
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    pub(super) read: ReadArgs,
    /// The format that messages are written in
    #[arg(long, value_enum, default_value_t = Format::Ndjson)]
    pub(super) format: Format,
    /// A new file, or for Parquet a new directory [default: stdout]
    #[arg(long, short, value_name = "PATH", required_if_eq("format", "parquet"))]
    pub(super) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// The streams
    #[arg(required_unless_present = "all", conflicts_with = "all", add = ArgValueCandidates::new(streams))]
    pub(super) streams: Vec<StreamName>,
    /// Every stream in the archive that can come back; streams that exist already are left alone
    #[arg(long)]
    pub(super) all: bool,
    /// The tier to read
    #[arg(long, value_enum, default_value_t = Tier::Nas)]
    pub(super) from: Tier,
    /// Restore under another name (one stream only)
    #[arg(long = "as", value_name = "NAME", conflicts_with = "all")]
    pub(super) rename: Option<StreamName>,
    /// With `--as`: also what reaches the live system: push consumers, mirror, sources, republishing,
    /// subject transform and schedules, which a copy does without
    #[arg(long, requires = "rename")]
    pub(super) keep_links: bool,
    /// Give the restored stream other subjects, comma-separated
    #[arg(long, value_delimiter = ',', value_name = "SUBJECTS")]
    pub(super) subjects: Option<Vec<String>>,
    /// Give the restored streams this many replicas instead of what they had: 1 for a single server
    /// in the place of a cluster
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=5))]
    pub(super) replicas: Option<u8>,
    /// Only up to this sequence
    #[arg(long, value_name = "SEQ")]
    pub(super) until_seq: Option<u64>,
    /// Only what comes before the first message that is later than this (RFC 3339)
    #[arg(long = "until", value_name = "TIME", value_parser = moment)]
    pub(super) until_time: Option<Timestamp>,
    /// Only messages on these subjects; the others leave gaps
    #[arg(long, value_name = "FILTER")]
    pub(super) subject: Option<SubjectFilter>,
    /// Another timeline than the newest (`streams` lists them)
    #[arg(long, value_name = "N", conflicts_with = "all")]
    pub(super) timeline: Option<u32>,
    /// Also what the stream had dropped by its limits, purges and deletes
    #[arg(long)]
    pub(super) with_dropped: bool,
    /// Leave this many sequences unused after the last one, so that none is given out twice: mirrors and
    /// caches that survived would otherwise miss as many new messages [default: 0, or 10000 and more where others
    /// follow the stream]
    #[arg(long, value_name = "N")]
    pub(super) fence: Option<u64>,
    /// Read from this tier alone, even when another has what is missing here
    #[arg(long)]
    pub(super) no_fallback: bool,
    /// If the archive's journal is damaged, restore the state before the damaged entry
    #[arg(long)]
    pub(super) before_damage: bool,
    /// Make the whole snapshot in memory first: what then remains is the restore protocol alone, for
    /// benchmarks
    #[arg(long, hide = true)]
    pub(super) staged: bool,
    /// Check everything that can be checked, show what would be restored, and restore nothing
    #[arg(long, short = 'n')]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) show: Show,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The streams; all when none is named
    #[arg(add = ArgValueCandidates::new(streams))]
    pub(super) streams: Vec<StreamName>,
    /// The tier to read
    #[arg(long, value_enum, default_value_t = Tier::Nas)]
    pub(super) from: Tier,
    /// Check the chain and that segments are there with their sizes, without reading them
    #[arg(long)]
    pub(super) chain_only: bool,
    /// Check all that can be checked of an encrypted archive without its keys, and say what was not
    #[arg(long, conflicts_with_all = ["streams", "chain_only"])]
    pub(super) without_keys: bool,
    /// The public nkey of a person who may erase; repeatable. A note signed with another key counts as damage
    #[arg(long, value_name = "NKEY")]
    pub(super) erased_by: Vec<String>,
    #[command(flatten)]
    pub(super) show: Show,
}

#[derive(Debug, Args)]
pub(super) struct CopyArgs {
    /// The configuration file that is to hold from then on: its tier of the same name is copied to
    #[arg(long, value_name = "FILE")]
    pub(super) to: PathBuf,
    /// The tier to copy
    #[arg(long, value_enum, default_value_t = Tier::Nas)]
    pub(super) from: Tier,
    /// Show what would be copied, and copy nothing
    #[arg(long, short = 'n')]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) show: Show,
}

#[derive(Debug, Args)]
pub(super) struct EraseArgs {
    /// The stream
    #[arg(add = ArgValueCandidates::new(streams))]
    pub(super) stream: StreamName,
    /// Messages on these subjects; may be given several times
    #[arg(long, value_name = "FILTER", required = true)]
    pub(super) subject: Vec<SubjectFilter>,
    /// Of those, only the ones with these sequences: `17`, `17..40`, `17..`
    #[arg(long, value_name = "SEQS", value_parser = seqs)]
    pub(super) seq: Option<SeqRange>,
    /// Why: a case number, not a name, for it stays in the archive
    #[arg(long, value_name = "TEXT", required_unless_present = "dry_run")]
    pub(super) reason: Option<String>,
    /// The seed of the user nkey that signs the note [default: the one that logs in to NATS]
    #[arg(long, value_name = "FILE")]
    pub(super) key: Option<PathBuf>,
    /// NATS is lost and no storage manager runs: ask neither
    #[arg(long)]
    pub(super) without_nats: bool,
    /// Do not ask for confirmation
    #[arg(long, short)]
    pub(super) yes: bool,
    /// Show what would be erased, and erase nothing
    #[arg(long, short = 'n')]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) show: Show,
}

#[derive(Debug, Args)]
pub(super) struct KeyArgs {
    #[command(subcommand)]
    pub(super) command: KeyCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Print a new key, as its file has it; needs no configuration
    #[command(
        after_help = "Examples:\n  (umask 077; cim-storage-manager key new > recovery.key)\n  (umask 077; cim-storage-manager key new --recovery recovery.key > archive-2027.key)"
    )]
    New {
        /// The file of a key that is to open all that the new one opens
        #[arg(long, value_name = "FILE")]
        recovery: Option<PathBuf>,
    },
    /// Show the keys of the configuration
    List(Show),
    /// Print the key of an encrypted object in Base64, as DuckDB takes it
    Of {
        /// The object's key in the bucket
        object: String,
        /// The tier that has it
        #[arg(long, value_enum, default_value_t = Tier::Nas)]
        from: Tier,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_has_its_commit_where_the_build_was_told() {
        assert_eq!(version(None), VERSION);
        let told = version(Some("0123456789ab 2027-01-02"));
        assert_eq!(told, format!("{VERSION} (0123456789ab 2027-01-02)"));
    }

    #[test]
    fn only_the_daemon_tells_what_goes_well() {
        let filter = |args: &[&str]| {
            let cli = Cli::try_parse_from([&["cim-storage-manager"], args].concat()).unwrap();
            cli.log_filter().to_owned()
        };
        assert_eq!(filter(&["tier"]), "info");
        assert_eq!(filter(&["restore", "--all"]), "warn");
        assert_eq!(filter(&["--log", "debug", "restore", "--all"]), "debug");
    }
}
