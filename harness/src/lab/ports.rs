//! Free ports on loopback.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::error::{Context as _, Result};

/// The attempts to start a program anew after another process took its port.
pub(crate) const ATTEMPTS: usize = 5;

/// Returns `N` different addresses on loopback that are free at this moment, for programs that
/// cannot choose a port themselves. Another process may take one first, so the caller tries again
/// with new ones.
pub fn free<const N: usize>() -> Result<[SocketAddr; N]> {
    let mut addrs = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    // All are held until the last is found, so that they differ.
    let mut held = Vec::with_capacity(N);
    for addr in &mut addrs {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = listener.setup(|| "cannot find a free port on 127.0.0.1".into())?;
        *addr = listener.local_addr().setup(|| "cannot read a listener's address".into())?;
        held.push(listener);
    }
    Ok(addrs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_free_and_differ() {
        let addrs = free::<16>().unwrap();
        let listeners: Vec<_> = addrs.iter().map(|addr| TcpListener::bind(addr).unwrap()).collect();
        assert_eq!(listeners.len(), 16);
    }
}
