//! `cim-fake-wasabi`: an S3 server that behaves like Wasabi, for tests.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
