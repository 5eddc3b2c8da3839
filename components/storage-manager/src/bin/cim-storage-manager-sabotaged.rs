//! The storage manager with its test hooks: it can be made to die where it must not and to lie. Nothing
//! but the harness starts it.

use std::process::ExitCode;

fn main() -> ExitCode {
    cim_storage_manager::cli::main(option_env!("CIM_COMMIT"))
}
