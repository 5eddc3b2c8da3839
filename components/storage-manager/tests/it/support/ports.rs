//! Ports of loopback.

use std::net::TcpListener;

/// Finds ports that are free, each another one: all are held until the last is found.
pub(crate) fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    let held = [(); COUNT].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

/// Returns true if a process listens on a port: what answers there may be another one that was faster.
pub(crate) fn listens(pid: u32, port: u16) -> bool {
    let address = format!(":{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let sockets: Vec<_> = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|of| of.len() > 9 && of[1].ends_with(&address) && of[3] == "0A")
        .map(|of| format!("socket:[{}]", of[9]))
        .collect();
    // One that is ending has no files any more.
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
    files
        .filter_map(|file| std::fs::read_link(file.ok()?.path()).ok())
        .any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
}
