//! See `cim-component-registry --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    cim_component_registry::main(option_env!("CIM_COMMIT"))
}
