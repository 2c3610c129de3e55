//! Ports on the loopback interface.

use std::{io, net::TcpListener, ops::RangeInclusive};

use anyhow::{Result, bail};
use rand::RngExt;

/// Where to look for a port: below those that systems give to outgoing connections, so that none of them
/// takes it while its server is restarted.
const RANGE: RangeInclusive<u16> = 10_000..=32_000;

/// A port that was free a moment ago.
pub fn free_port() -> Result<u16> {
    // By chance, so that several who look at the same time find different ones.
    for _ in 0..1000 {
        let port = rand::rng().random_range(RANGE);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!(
        "no port from {} to {} is free on 127.0.0.1",
        RANGE.start(),
        RANGE.end()
    )
}

/// Whether somebody has the port.
pub fn is_taken(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port))
        .is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

/// The wished port, or a free one where that is taken.
pub fn wished_or_free(wish: u16) -> Result<u16> {
    if wish != 0 && !is_taken(wish) {
        Ok(wish)
    } else {
        free_port()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(is_taken(port));
        assert_ne!(wished_or_free(port).unwrap(), port);
        assert!(!is_taken(free_port().unwrap()));
    }
}
