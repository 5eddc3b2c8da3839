//! `cim-harness`

use std::process::ExitCode;

fn main() -> ExitCode {
    // The scripts of ci/ and Nix tell a build its commit; where none did, the version stands alone.
    cim_harness::cli::main(option_env!("CIM_COMMIT"))
}
