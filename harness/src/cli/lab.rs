//! Flags of every command that runs scenarios: the lab's substrate, and the loads.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ValueEnum as _;

use crate::engine::{Options, Substrate};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::lab::disk;
use crate::lab::s3::Kind;
use crate::lab::tools::{Tools, project_dir};
use crate::rundir::default_root;
use crate::scenario::{self, Capability, Rate, Scenario, Size, Span};
use crate::substrate::driver::LabFile;
use crate::workload::event::read_corpus;

/// The flags of the lab.
#[derive(Debug, clap::Args)]
pub(super) struct LabArgs {
    /// The substrate of the lab.
    #[arg(long, value_enum, default_value_t = Made::Process)]
    pub(super) substrate: Made,
    /// With processes: the program that serves S3 on the NAS; `ci/setup --nas NAME` installs it.
    #[arg(long, value_enum, default_value_t = Kind::Minio)]
    nas: Kind,
    /// With `--substrate container`: the images, as `ci/images` writes them [default:
    /// .tools/images.json of the project].
    #[arg(long, value_name = "FILE", env = "CIM_IMAGES")]
    images: Option<PathBuf>,
    /// With `--substrate driver`: the machines, as JSON.
    #[arg(long, value_name = "FILE", required_if_eq("substrate", "driver"))]
    lab: Option<PathBuf>,
    /// With `--substrate driver`: the Unix socket on which the driver asks for requests.
    #[arg(
        long,
        value_name = "PATH",
        env = "CIM_DRIVER_SOCKET",
        required_if_eq("substrate", "driver")
    )]
    socket: Option<PathBuf>,
    /// With `--substrate driver`: the longest that the driver may be silent while a request waits.
    #[arg(long, value_name = "TIME", default_value = "60s")]
    driver_patience: Span,
    /// The parent directory of run directories [default: runs of the project].
    #[arg(long, value_name = "DIR")]
    runs_dir: Option<PathBuf>,
    /// Look for programs here first.
    #[arg(long, value_name = "DIR", env = "CIM_BIN_DIR")]
    bin_dir: Option<PathBuf>,
}

/// A lab's substrate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Made {
    /// Processes of this machine.
    Process,
    /// Containers of a Docker engine of this machine; `ci/docker run` starts one.
    Container,
    /// Machines that another program starts, cuts off and unplugs; `cim-harness driver` is its
    /// interface.
    Driver,
}

/// The flags that override a scenario's loads.
#[derive(Debug, clap::Args)]
pub(super) struct LoadArgs {
    /// Events of each load.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    events: Option<u64>,
    /// Events per second of each load, such as 10000/s.
    #[arg(long, value_name = "N/s")]
    rate: Option<Rate>,
    /// Payload of each event, such as 128 or 1KiB.
    #[arg(long, value_name = "BYTES")]
    size: Option<Size>,
    /// Streams of all families together; each family keeps its share.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    streams: Option<u32>,
    /// Take payloads from this file: one JSON object a line, used over and over.
    #[arg(long, value_name = "FILE.ndjson")]
    corpus: Option<PathBuf>,
}

impl LabArgs {
    /// Returns the options of runs, but for the seed: failed runs are kept, and progress is shown.
    pub(super) fn options(&self, loads: &LoadArgs, interrupt: Interrupt) -> Result<Options> {
        let corpus = loads.corpus.as_deref().map(read_corpus).transpose()?;
        Ok(Options {
            seed: 0,
            keep: false,
            runs_dir: self.runs_dir(),
            tools: Tools::new(self.bin_dir.clone()),
            corpus: corpus.map(Arc::new),
            substrate: self.substrate()?,
            env: Vec::new(),
            quiet: false,
            interrupt,
            arguments: Vec::new(),
        })
    }

    /// Enters a mount namespace if these scenarios need one, before anything is started.
    pub(super) fn enter<'a>(&self, scenarios: impl IntoIterator<Item = &'a Scenario>) {
        let mut scenarios = scenarios.into_iter();
        let needed = scenarios.any(|scenario| scenario.needs().contains(&Capability::DiskFull));
        if self.substrate == Made::Process && needed {
            disk::enter_own_namespace();
        }
    }

    /// Returns the arguments that run a scenario of this name again, but for the seed.
    pub(super) fn arguments(
        &self,
        name: &str,
        dir: Option<&Path>,
        loads: &LoadArgs,
    ) -> Vec<String> {
        let mut arguments = vec![name.to_owned()];
        arguments.extend(dir.map(|dir| format!("--dir={}", dir.display())));
        if let Some(made) =
            self.substrate.to_possible_value().filter(|_| self.substrate != Made::Process)
        {
            arguments.push(format!("--substrate={}", made.get_name()));
        }
        if let Some(nas) = self.nas.to_possible_value().filter(|_| self.nas != Kind::Minio) {
            arguments.push(format!("--nas={}", nas.get_name()));
        }
        arguments.extend(loads.flags());
        arguments
    }

    /// Returns the parent directory of run directories.
    pub(super) fn runs_dir(&self) -> PathBuf {
        self.runs_dir.clone().unwrap_or_else(default_root)
    }

    fn substrate(&self) -> Result<Substrate> {
        if self.substrate != Made::Process && self.nas != Kind::Minio {
            let what = "`--nas` is for labs of processes: leave it out; images have MinIO, and `ci/vm/run --nas NAME` makes the NAS of machines";
            return Err(Error::Usage(what.into()));
        }
        if self.substrate == Made::Container {
            let project = || project_dir().unwrap_or_default().join(".tools/images.json");
            return Ok(Substrate::Container {
                images: self.images.clone().unwrap_or_else(project),
            });
        }
        let (Made::Driver, Some(lab), Some(socket)) = (self.substrate, &self.lab, &self.socket)
        else {
            return Ok(Substrate::Process { nas: self.nas });
        };
        let (lab, socket) = (LabFile::read(lab)?, socket.clone());
        Ok(Substrate::Driver { lab, socket, patience: self.driver_patience.into() })
    }
}

impl LoadArgs {
    /// Returns the flags as they were given.
    pub(super) fn flags(&self) -> Vec<String> {
        let flags = [
            ("--events", self.events.map(|n| n.to_string())),
            ("--rate", self.rate.map(|rate| rate.to_string())),
            ("--size", self.size.map(|size| size.to_string())),
            ("--streams", self.streams.map(|n| n.to_string())),
            ("--corpus", self.corpus.as_ref().map(|path| path.display().to_string())),
        ];
        let given = flags.into_iter().filter_map(|(flag, value)| Some([flag.to_owned(), value?]));
        given.flatten().collect()
    }

    /// Applies the command line's loads to all of the scenario's.
    pub(super) fn apply(&self, scenario: &mut Scenario) -> Result<()> {
        let (least, most) = (scenario::check::SIZE_MIN, scenario::check::SIZE_MAX);
        if let Some(size) = self.size.filter(|size| size.bytes() < least) {
            return Err(Error::Usage(format!(
                "`--size {size}` is below {least}B, the least in which an event's number fits"
            )));
        }
        if let Some(size) = self.size.filter(|size| size.bytes() > most) {
            return Err(Error::Usage(format!(
                "`--size {size}` is above {most}B: a server takes no larger messages"
            )));
        }
        if let Some(streams) = self.streams
            && !scenario.resize(streams)
        {
            return Err(Error::Usage(format!(
                "`--streams {streams}` needs a scenario with `families`, such as `many-streams`"
            )));
        }
        for family in &mut scenario.families {
            family.events = self.events.unwrap_or(family.events);
            family.size = self.size.unwrap_or(family.size);
            family.rate = self.rate.or(family.rate);
        }
        for workload in &mut scenario.workloads {
            if let Some(events) = self.events {
                workload.events = events;
                workload.deletes = workload.deletes.min(events / 2);
            }
            workload.size = self.size.unwrap_or(workload.size);
            workload.rate = self.rate.or(workload.rate);
        }
        if self.events.is_some() {
            scenario.expect.events_at_least = 0;
            scenario.expect.recovered_at_least = 0;
        }
        Ok(())
    }
}
