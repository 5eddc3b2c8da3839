//! Nkeys: makes them, writes each seed to a file of its own, reads it back.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use cim_core::names::UserKey;
use nkeys::{KeyPair, KeyPairType};

use crate::error::{Context as _, Error, Result};

/// The source of a key, or the destination of its seed.
#[derive(Debug, Clone, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct KeyArgs {
    /// Make a key and write its seed to this new file, for its owner alone (mode 0600).
    #[arg(long, value_name = "FILE")]
    seed_file: Option<PathBuf>,
    /// Make a key and print its seed on stdout, for a secrets store to read.
    #[arg(long)]
    print_seed: bool,
    /// Use this public key; its owner has the seed.
    #[arg(long, value_name = "U…")]
    nkey: Option<UserKey>,
}

/// A public key, and the seed that must still be handed over.
pub(super) struct Key {
    pub(super) public: UserKey,
    seed: Option<String>,
}

impl Key {
    pub(super) fn of(args: &KeyArgs) -> Result<Self> {
        if let Some(public) = &args.nkey {
            return Ok(Self { public: public.clone(), seed: None });
        }
        let pair = KeyPair::new_user();
        let public = UserKey::new(pair.public_key()).expect("nkeys makes users' keys");
        let seed = pair.seed().setup(|| "cannot make an nkey".into())?;
        Ok(Self { public, seed: Some(seed) })
    }

    /// Hands over the seed, before the inventory names its key. Never overwrites a file.
    pub(super) fn hand_over(&self, args: &KeyArgs) -> Result<()> {
        let Some(seed) = &self.seed else { return Ok(()) };
        let Some(path) = &args.seed_file else {
            super::print(seed);
            return Ok(());
        };
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(path);
        let written = file.and_then(|mut file| {
            writeln!(file, "{seed}")?;
            file.sync_all()
        });
        written.map_err(|error| {
            let path = path.display();
            Error::Usage(format!("cannot write the seed to `{path}`: {error}; name a new file"))
        })
    }
}

/// Reads a user's seed from the first line of a file.
pub(super) fn seed(path: &Path) -> Result<String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::Usage(format!("cannot read nkey `{shown}`: {error}")))?;
    let seed = text.lines().next().unwrap_or_default().trim();
    match KeyPair::from_seed(seed) {
        Ok(pair) if pair.key_pair_type() == KeyPairType::User => Ok(seed.to_owned()),
        _ => Err(Error::Usage(format!(
            "nkey `{shown}`: its first line must be the seed of a user's nkey, 58 characters that begin with `SU`"
        ))),
    }
}
