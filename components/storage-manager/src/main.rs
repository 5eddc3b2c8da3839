//! See `cim-storage-manager --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    cim_storage_manager::cli::main()
}
