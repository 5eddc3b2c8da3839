//! Information units with their test hooks: they can be made to die where they must not. Only tests start it.

use std::process::ExitCode;

fn main() -> ExitCode {
    cim_information_units::main(option_env!("CIM_COMMIT"))
}
