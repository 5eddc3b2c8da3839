//! Programs, and waiting for them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A program that `ci/setup --test` brings; `None`, said aloud, where it is not and need not be.
pub(crate) fn optional_tool(name: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join(".tools").join(name);
    if path.exists() {
        return Some(path);
    }
    let required = std::env::var_os("CIM_REQUIRE_TOOLS").is_some_and(|v| v == "1");
    assert!(!required, "`{}` is not there: run `ci/setup --test`", path.display());
    None
}

/// Says aloud that something was not tested, and why; ci/test counts it.
pub(crate) fn skipped(name: &str, reason: &str) {
    use std::io::Write as _;
    eprintln!("skipped: {name}: {reason}");
    if let Some(path) = std::env::var_os("CIM_SKIPPED_FILE") {
        let mut file = std::fs::File::options().append(true).create(true).open(path).unwrap();
        writeln!(file, "{name}: {reason}").unwrap();
    }
}

/// A program without which there is nothing to test.
pub(crate) fn tool(name: &str) -> PathBuf {
    optional_tool(name)
        .unwrap_or_else(|| panic!("`.tools/{name}` is not there: run `ci/setup --test`"))
}

/// Polls until `condition` holds; after 60 s the test fails and says what it last saw.
pub(crate) async fn wait_until<T>(
    what: &str,
    mut condition: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let started = Instant::now();
    loop {
        match condition().await {
            Ok(value) => return value,
            Err(last) => {
                assert!(
                    started.elapsed() < Duration::from_secs(60),
                    "waited 60 s until {what}: {last}"
                );
            }
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

/// Whether a process listens on a port of loopback: what answers there may be another one that was faster.
pub(crate) fn listens(process: &std::process::Child, port: u16) -> bool {
    let address = format!(":{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let sockets: Vec<_> = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|of| of.len() > 9 && of[1].ends_with(&address) && of[3] == "0A")
        .map(|of| format!("socket:[{}]", of[9]))
        .collect();
    // One that is ending has no files any more.
    let files = std::fs::read_dir(format!("/proc/{}/fd", process.id())).into_iter().flatten();
    files
        .filter_map(|file| std::fs::read_link(file.ok()?.path()).ok())
        .any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
}

/// Bytes that cannot be packed, others for each seed.
pub(crate) fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(bytes).collect()
}
