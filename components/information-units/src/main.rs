//! See `cim-information-units --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    cim_information_units::main(option_env!("CIM_COMMIT"))
}
