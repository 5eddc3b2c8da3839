//! The registry with its test hooks: it can be made to die where it must not. Only tests start it.

use std::process::ExitCode;

fn main() -> ExitCode {
    cim_component_registry::main(option_env!("CIM_COMMIT"))
}
