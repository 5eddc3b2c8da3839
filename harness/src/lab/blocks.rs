//! Damage to the files that JetStream keeps for a stream.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Context as _, Error, Result};
use crate::scenario::{DamageStream, DamagedFile, Harm, Percent};

/// The bit to flip in the drawn byte.
const BIT: u8 = 0x10;

/// Damages a file in a stream's directory and returns a description. Fails if the file does not
/// exist.
pub fn damage(stream: &Path, damage: &DamageStream) -> Result<String> {
    let share = damage.at.0;
    let path = match damage.file {
        DamagedFile::Block => block(&stream.join("msgs"), share)?,
        DamagedFile::Index => stream.join("msgs/index.db"),
        DamagedFile::Meta => stream.join("meta.inf"),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let cannot = || format!("cannot damage `{}`", path.display());
    let file = OpenOptions::new().read(true).write(true).open(&path).step(cannot)?;
    let size = file.metadata().step(cannot)?.len();
    if size == 0 {
        return Err(Error::step(format!("{}: it is empty", cannot())));
    }
    let at = share.of(size - 1);
    match damage.how {
        Harm::Flip => flip(&file, at).step(cannot)?,
        Harm::Cut => file.set_len(at).step(cannot)?,
    }
    file.sync_all().step(cannot)?;
    Ok(match damage.how {
        Harm::Flip => format!("a bit flipped at byte {at} of {size} in {name}"),
        Harm::Cut => format!("{name} cut from {size} to {at} bytes"),
    })
}

fn flip(file: &File, at: u64) -> std::io::Result<()> {
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)?;
    file.write_all_at(&[byte[0] ^ BIT], at)
}

/// Returns the block at `share` of all blocks, ordered by number.
fn block(messages: &Path, share: Percent) -> Result<PathBuf> {
    let cannot = || format!("cannot read `{}`", messages.display());
    let mut blocks: Vec<(u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(messages).step(cannot)? {
        let path = entry.step(cannot)?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|s| s.parse().ok());
        if let (Some(number), Some("blk")) = (number, path.extension().and_then(|e| e.to_str())) {
            blocks.push((number, path));
        }
    }
    blocks.sort();
    let Some(last) = (blocks.len() as u64).checked_sub(1) else {
        return Err(Error::step(format!("`{}` has no blocks", messages.display())));
    };
    let at = usize::try_from(share.of(last)).unwrap_or_default();
    Ok(blocks.swap_remove(at).1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Between;

    fn spec(file: DamagedFile, how: Harm) -> DamageStream {
        let half = Percent::permille(500);
        let (node, stream) = ("host".parse().unwrap(), "S".parse().unwrap());
        DamageStream { node, stream, file, how, at: Between(half, half) }
    }

    #[test]
    fn one_bit_of_the_middle_block_is_flipped_or_its_half_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("msgs")).unwrap();
        for (name, fill) in [("2.blk", 2), ("10.blk", 10), ("1.blk", 1)] {
            fs::write(dir.path().join("msgs").join(name), [fill; 101]).unwrap();
        }
        let said = damage(dir.path(), &spec(DamagedFile::Block, Harm::Flip)).unwrap();
        assert_eq!(said, "a bit flipped at byte 50 of 101 in 2.blk");
        let mut flipped = [2; 101];
        flipped[50] = 2 ^ BIT;
        assert_eq!(fs::read(dir.path().join("msgs/2.blk")).unwrap(), flipped);
        let said = damage(dir.path(), &spec(DamagedFile::Block, Harm::Cut)).unwrap();
        assert_eq!(said, "2.blk cut from 101 to 50 bytes");
        let error = damage(dir.path(), &spec(DamagedFile::Index, Harm::Flip)).unwrap_err();
        assert!(error.chain().contains("index.db"), "{}", error.chain());
    }
}
