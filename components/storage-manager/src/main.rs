//! See `cim-storage-manager --help`.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

/// glibc's own variable: how many arenas it may keep.
const ARENAS: &str = "MALLOC_ARENA_MAX";

fn main() -> ExitCode {
    one_arena();
    cim_storage_manager::cli::main()
}

/// Starts over with a single arena, unless whoever started this has chosen a number.
///
/// Whole segments come and go on several threads. glibc gives each thread an arena of its own and gives
/// nothing back to the system from the middle of one: 305 MiB at the peak of a run that takes 169 MiB
/// with one arena. It reads the variable before `main`, so it takes an exec; mallopt would take unsafe
/// code.
fn one_arena() {
    if !cfg!(target_env = "gnu") || std::env::var_os(ARENAS).is_some() {
        return;
    }
    let mut args = std::env::args_os();
    if let (Some(name), Ok(program)) = (args.next(), std::env::current_exe()) {
        // It comes back only when it failed; then this goes on with more memory than it needs.
        drop(Command::new(program).arg0(name).args(args).env(ARENAS, "1").exec());
    }
}
