//! `cim-harness`

use std::process::ExitCode;

fn main() -> ExitCode {
    cim_harness::cli::main()
}
