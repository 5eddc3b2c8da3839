//! Results to stdout, remarks to stderr.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Prints a result and a line end to stdout. A reader that has gone (`| head`) has read enough: that is no
/// error.
///
/// # Errors
/// When stdout cannot be written for another reason: a full disk.
pub fn print(text: impl Display) -> io::Result<()> {
    to(&mut io::stdout().lock(), text)
}

/// Prints a remark and a line end to stderr. A closed stderr is no error.
pub fn note(text: impl Display) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

fn to(out: &mut impl Write, text: impl Display) -> io::Result<()> {
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), format!("cannot write to stdout: {error}"))),
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A writer that fails every write.
    struct Refuses(ErrorKind);

    impl Write for Refuses {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_is_gone_is_no_error_and_a_full_disk_is_one() {
        assert!(to(&mut Refuses(ErrorKind::BrokenPipe), "a line").is_ok());
        let full = to(&mut Refuses(ErrorKind::StorageFull), "a line").unwrap_err();
        assert!(full.to_string().starts_with("cannot write to stdout: "), "{full}");
        let mut kept = Vec::new();
        to(&mut kept, "a line").unwrap();
        assert_eq!(kept, b"a line\n");
    }
}
