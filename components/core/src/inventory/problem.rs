//! Problems of an inventory whose values are each right.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::store::words;

/// One thing that is wrong, with the way out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// What kind of thing.
    pub kind: ProblemKind,
    /// A line for people: where, what, and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

words! {
    /// Kinds of problems, for programs. A word never changes its meaning.
    ProblemKind {
        /// A network is named that is not there.
        UnknownNetwork = "unknown-network",
        /// Networks have addresses in common.
        NetworksOverlap = "networks-overlap",
        /// An address is one that no machine of its network can have.
        AddressOutside = "address-outside",
        /// Two have one address.
        AddressTaken = "address-taken",
        /// Something is not there that something else needs.
        Missing = "missing",
        /// Something is there that has no use for this role or kind.
        Misplaced = "misplaced",
        /// Something for labs is there outside a lab.
        LabOnly = "lab-only",
        /// A key whose seed is public is there outside a lab.
        LabKey = "lab-key",
        /// Two have one nkey.
        NkeyTaken = "nkey-taken",
        /// A power cut would lose what was acked.
        LosesAcked = "loses-acked",
        /// A server listens twice on one port.
        PortTaken = "port-taken",
        /// A connection that leaves the installation is not encrypted.
        NotEncrypted = "not-encrypted",
        /// A plugin and a component have one name.
        NameTaken = "name-taken",
        /// A host is named that is not there.
        UnknownHost = "unknown-host",
        /// A tier is not exactly one of a host and an endpoint.
        TierShape = "tier-shape",
        /// Two tiers would be lost together.
        SameHost = "same-host",
        /// Two storage managers would write one archive.
        TwoWriters = "two-writers",
        /// A program that serves S3 cannot keep two writers of the archive apart.
        IgnoresConditions = "ignores-conditions",
        /// A word or a key is used that the version of the file does not have.
        NeedsVersion = "needs-version",
        /// Streams ask for one subject.
        SubjectsOverlap = "subjects-overlap",
        /// A stream asks for the server's own subjects, or has the name of a bucket's stream.
        Reserved = "reserved",
        /// Limits add up to more than there is.
        TooLarge = "too-large",
    }
}
