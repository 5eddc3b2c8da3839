//! See `cim-storage-manager --help`.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

/// glibc's own variables, and what they are set to: how many arenas it may keep, from which size on a buffer is the
/// system's and goes back there at once, and how much of what is free at the end of an arena stays there.
const ALLOCATOR: [(&str, &str); 3] = [
    ("MALLOC_ARENA_MAX", "1"),
    ("MALLOC_MMAP_THRESHOLD_", "1048576"),
    ("MALLOC_TRIM_THRESHOLD_", "4194304"),
];

fn main() -> ExitCode {
    give_back_memory();
    // The scripts of ci/ and Nix tell a build its commit; where none did, the version stands alone.
    cim_storage_manager::cli::main(option_env!("CIM_COMMIT"))
}

/// Starts over with an allocator that gives back what is free, where the environment does not say already how
/// it is to be.
///
/// Whole segments come and go on several threads. glibc gives each thread an arena of its own and gives
/// nothing back to the system from the middle of one: 305 MiB at the peak of a run that takes 169 MiB
/// with one arena. From the first large buffer that is freed on it keeps those too, in that arena: 245 MiB of a
/// run in front of a slow NAS that takes 144 MiB where it may not. But where it gives back all but 128 KiB of what is
/// free at the end, its default, the buffers of the next page of a segment are made of new memory, which takes the
/// system longer than compressing and encrypting them. It reads the variables before `main`, so it takes an exec;
/// mallopt would take unsafe code.
fn give_back_memory() {
    let unset = ALLOCATOR.iter().filter(|(name, _)| std::env::var_os(name).is_none());
    let unset: Vec<_> = unset.copied().collect();
    if !cfg!(target_env = "gnu") || unset.is_empty() {
        return;
    }
    let mut args = std::env::args_os();
    if let (Some(name), Ok(program)) = (args.next(), std::env::current_exe()) {
        // It comes back only when it failed; then this goes on with more memory than it needs.
        drop(Command::new(program).arg0(name).args(args).envs(unset).exec());
    }
}
