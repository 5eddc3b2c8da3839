//! Number of cases of a property test.

use proptest::test_runner::Config;

/// Returns as many cases as `PROPTEST_CASES` says, for long runs; otherwise `few`, which take little time.
pub fn cases(few: u32) -> Config {
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => Config::default(),
        None => Config::with_cases(few),
    }
}
