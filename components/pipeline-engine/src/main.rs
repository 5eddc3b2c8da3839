//! See `cim-pipeline-engine --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    cim_pipeline_engine::main(option_env!("CIM_COMMIT"))
}
