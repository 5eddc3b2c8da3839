//! The messages on the socket, and the file that describes a lab. docs/driver.md describes both for
//! people.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cim_core::names::NodeName;
use serde::{Deserialize, Serialize};

use crate::error::{Context as _, Error, Result};
use crate::lab::s3::{client, credentials};
use crate::scenario::{Capability, Role};

/// A machine's disk at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Disk {
    /// The old content.
    Kept,
    /// Empty but for what is installed on every machine of its kind.
    New,
}

/// An operation for the driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Op {
    /// Boots a machine.
    Start {
        node: NodeName,
        disk: Disk,
        /// True to wait until its root shell answers; otherwise the operation is done as soon as it
        /// has power, so that others can boot beside it.
        #[serde(default = "yes", skip_serializing_if = "is_yes")]
        wait: bool,
    },
    /// Turns a machine off in an orderly way.
    Stop { node: NodeName },
    /// Cuts a machine's power.
    Crash { node: NodeName },
    /// Unplugs a machine's network card.
    Block { node: NodeName },
    /// Plugs the card in again.
    Unblock { node: NodeName },
    /// Runs a command in a root shell.
    Exec { node: NodeName, command: String, timeout_seconds: u64 },
    /// The scenario is over; no answer is expected.
    End { verdict: String, exit: u8 },
}

const fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_yes(wait: &bool) -> bool {
    *wait
}

/// A request, as `driver next` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) id: u64,
    #[serde(flatten)]
    pub(crate) op: Op,
}

/// The longest line of a client, in bytes. An outcome's two texts fit in any JSON spelling: six
/// bytes at most for one of a text.
pub(super) const LINE: usize = 1 << 20;

/// The outcome of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Outcome {
    /// The command's exit status.
    pub(crate) status: i32,
    /// Its stdout, at most the last 64 KiB.
    pub(crate) stdout: String,
    /// Its stderr, likewise; empty if the driver cannot tell the two apart.
    pub(crate) stderr: String,
}

/// A message from a client of the socket, on one line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Say {
    /// The client wants the next request.
    Next,
    /// The client has done a request.
    Done {
        id: u64,
        #[serde(default)]
        result: Outcome,
        /// The reason why it could not be done.
        #[serde(default)]
        error: Option<String>,
    },
}

/// The harness's answer, on one line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Hear {
    Request(Request),
    Taken,
    Refused(String),
}

/// The machines of a lab and how the operator reaches them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LabFile {
    /// The capabilities of the driver and its machines.
    pub(crate) offers: BTreeSet<Capability>,
    /// The machines, by the names that scenarios use.
    pub(crate) nodes: BTreeMap<NodeName, LabNode>,
    /// True if the host's storage manager has the scenario's settings already.
    #[serde(default)]
    pub(crate) storage_manager_configured: bool,
    /// The factor by which the machines are slower than hardware. Time bounds of an expectation are
    /// multiplied by it, and the report says so.
    #[serde(default = "one")]
    pub(crate) slowdown: u32,
    /// Versions of the programs on the machines, for the report.
    #[serde(default)]
    pub(crate) versions: BTreeMap<String, String>,
}

fn one() -> u32 {
    1
}

/// A machine of a lab.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "role", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum LabNode {
    /// NATS and the storage manager.
    Host { address: String, nats_port: u16, nats_nkey_file: Option<PathBuf> },
    /// The secondary tier.
    Nas(S3),
    /// The tertiary tier.
    Wasabi(S3),
}

/// An S3 service as the operator reaches it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct S3 {
    pub(crate) endpoint: String,
    pub(crate) bucket: String,
    pub(crate) region: String,
    pub(crate) credentials_file: PathBuf,
    /// Its unit, of a NAS with another service than MinIO.
    #[serde(default)]
    pub(crate) unit: Option<String>,
}

impl LabNode {
    pub(crate) fn role(&self) -> Role {
        match self {
            Self::Host { .. } => Role::Host,
            Self::Nas(_) => Role::Nas,
            Self::Wasabi(_) => Role::Wasabi,
        }
    }
}

impl LabFile {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|e| Error::Usage(format!("cannot read the lab `{shown}`: {e}")))?;
        let lab: Self =
            serde_json::from_str(&text).map_err(|e| Error::Usage(format!("lab `{shown}`: {e}")))?;
        if lab.slowdown == 0 {
            return Err(Error::Usage(format!("lab `{shown}`: `slowdown` is 0, and at least 1")));
        }
        Ok(lab)
    }
}

impl S3 {
    /// Makes a client for the bucket.
    pub(crate) fn client(&self) -> Result<Box<s3::Bucket>> {
        let shown = self.credentials_file.display();
        let text = std::fs::read_to_string(&self.credentials_file);
        let text = text.setup(|| format!("cannot read `{shown}`"))?;
        let value = |key: &str| {
            let line = text.lines().find_map(|l| l.trim().strip_prefix(key)?.strip_prefix('='));
            line.map(|v| v.trim().trim_matches(['"', '\'']).to_owned())
                .ok_or_else(|| Error::setup(format!("`{shown}` has no line `{key}=…`")))
        };
        let (access, secret) = (value("AWS_ACCESS_KEY_ID")?, value("AWS_SECRET_ACCESS_KEY")?);
        let (region, endpoint) = (self.region.clone(), self.endpoint.clone());
        let region = s3::Region::Custom { region, endpoint };
        client(&self.bucket, region, credentials(&access, &secret)?)
    }
}

#[cfg(test)]
mod tests {
    use cim_testing::{cases, corrupted, corruptions};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requests_look_as_documented() {
        let node = NodeName::new("host").unwrap();
        let ops = [
            Op::Start { node: node.clone(), disk: Disk::New, wait: true },
            Op::Start { node: node.clone(), disk: Disk::Kept, wait: false },
            Op::Crash { node: node.clone() },
            Op::Exec { node, command: "true".into(), timeout_seconds: 60 },
            Op::End { verdict: "passed".into(), exit: 0 },
        ];
        let lines: Vec<_> = (1..)
            .zip(ops)
            .map(|(id, op)| serde_json::to_string(&Request { id, op }).unwrap())
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        {"id":1,"do":"start","node":"host","disk":"new"}
        {"id":2,"do":"start","node":"host","disk":"kept","wait":false}
        {"id":3,"do":"crash","node":"host"}
        {"id":4,"do":"exec","node":"host","command":"true","timeout_seconds":60}
        {"id":5,"do":"end","verdict":"passed","exit":0}
        "#);
    }

    #[test]
    fn a_lab_is_read_and_what_is_not_known_is_refused() {
        let lab = r#"{ "offers": ["processes", "power-loss"], "nodes": {
            "host": { "role": "host", "address": "127.0.0.1", "nats_port": 4222 },
            "nas": { "role": "nas", "endpoint": "http://127.0.0.1:9000", "bucket": "b", "region": "r", "credentials_file": "/c" } } }"#;
        let read: LabFile = serde_json::from_str(lab).unwrap();
        assert_eq!(read.nodes[&NodeName::new("nas").unwrap()].role(), Role::Nas);
        assert_eq!(read.slowdown, 1, "iron unless it says otherwise");
        let wrong = lab.replace("nats_port", "natsport");
        assert!(serde_json::from_str::<LabFile>(&wrong).is_err());
    }

    proptest! {
        #![proptest_config(cases(256))]

        /// Covers a driver that dies in the middle of a line, or prints anything else.
        #[test]
        fn a_line_that_was_cut_or_changed_is_no_other_answer(
            id in any::<u64>(), status in any::<i32>(), stdout in ".{0,30}",
            error in prop::option::of(".{0,30}"), corruptions in corruptions(),
        ) {
            let result = Outcome { status, stdout, stderr: String::new() };
            let line = serde_json::to_string(&Say::Done { id, result, error }).unwrap();
            for (cut, _) in line.char_indices() {
                prop_assert!(serde_json::from_str::<Say>(&line[..cut]).is_err());
            }
            if let Ok(said) = serde_json::from_slice::<Say>(&corrupted(line.as_bytes(), &corruptions)) {
                let again = serde_json::to_string(&said).unwrap();
                prop_assert!(serde_json::from_str::<Say>(&again).is_ok());
            }
        }
    }
}
