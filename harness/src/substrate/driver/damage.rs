//! Damage to a stream's files on a machine, with programs that every machine has.

use crate::scenario::{DamageStream, DamagedFile, Harm};

/// Returns a command for root's shell that damages a file and prints a description.
pub(super) fn command(damage: &DamageStream) -> String {
    let (stream, permille) = (&damage.stream, damage.at.0.as_permille());
    let file = match damage.file {
        DamagedFile::Block => format!(
            "blocks=$(ls \"$dir/msgs\" | grep '[.]blk$' | sort -n); count=$(echo \"$blocks\" | wc -l); \
             file=$dir/msgs/$(echo \"$blocks\" | sed -n \"$(((count - 1) * {permille} / 1000 + 1))p\")"
        ),
        DamagedFile::Index => "file=$dir/msgs/index.db".to_owned(),
        DamagedFile::Meta => "file=$dir/meta.inf".to_owned(),
    };
    let harm = match damage.how {
        Harm::Flip => {
            "byte=$(od -An -tu1 -j \"$at\" -N 1 \"$file\"); \
             printf \"\\\\$(printf %03o $((byte ^ 16)))\" \
             | dd of=\"$file\" bs=1 seek=\"$at\" conv=notrunc status=none; \
             echo \"a bit flipped at byte $at of $size in ${file##*/}\""
        }
        Harm::Cut => {
            "truncate -s \"$at\" \"$file\"; echo \"${file##*/} cut from $size to $at bytes\""
        }
    };
    [
        "set -eu".to_owned(),
        "! systemctl -q is-active nats.service || { echo 'NATS runs: stop or kill it first' >&2; exit 1; }".to_owned(),
        format!("dir=$(find / -xdev -type d -path '*/streams/{stream}' | head -n 1)"),
        file,
        "size=$(stat -c %s \"$file\")".to_owned(),
        format!("at=$(((size - 1) * {permille} / 1000))"),
        harm.to_owned(),
        "sync".to_owned(),
    ]
    .join("; ")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;
    use crate::scenario::{Between, Percent};

    /// Runs the command in a shell, on a directory in place of a machine's disk; returns its output
    /// and the file.
    fn run(how: Harm) -> (String, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let messages = dir.path().join("streams/S/msgs");
        fs::create_dir_all(&messages).unwrap();
        for (name, fill) in [("2.blk", 2), ("10.blk", 10), ("1.blk", 1)] {
            fs::write(messages.join(name), [fill; 101]).unwrap();
        }
        let half = Percent::permille(500);
        let (node, stream) = ("host".parse().unwrap(), "S".parse().unwrap());
        let file = DamagedFile::Block;
        let command = command(&DamageStream { node, stream, file, how, at: Between(half, half) });
        let here = dir.path().to_str().unwrap();
        let command = command.replace("find / -xdev", &format!("find {here}"));
        let command = format!("systemctl() {{ false; }}; {command}");
        let output = Command::new("sh").arg("-c").arg(command).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (said, fs::read(messages.join("2.blk")).unwrap())
    }

    #[test]
    fn a_shell_flips_one_bit_or_cuts_the_file() {
        let (said, content) = run(Harm::Flip);
        assert_eq!(said, "a bit flipped at byte 50 of 101 in 2.blk\n");
        let mut flipped = vec![2; 101];
        flipped[50] = 2 ^ 16;
        assert_eq!(content, flipped);
        let (said, content) = run(Harm::Cut);
        assert_eq!(said, "2.blk cut from 101 to 50 bytes\n");
        assert_eq!(content.len(), 50);
    }
}
