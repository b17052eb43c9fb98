//! TCP connections that end in some time, or don't begin.

use std::io::{Error, ErrorKind, Result};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Connects to the first of the addresses that takes the connection within the limit.
pub fn connect(place: impl ToSocketAddrs, limit: Duration) -> Result<TcpStream> {
    let mut failed = Error::new(ErrorKind::NotFound, "its name has no address");
    for address in place.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, limit) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{SocketAddr, TcpListener};

    #[test]
    fn every_address_is_tried() {
        let limit = Duration::from_secs(5);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        let closed = SocketAddr::from(([127, 0, 0, 1], 1));
        assert_eq!(
            connect(&[closed, good][..], limit)
                .unwrap()
                .peer_addr()
                .unwrap(),
            good
        );
        let refused = connect(closed, limit).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }
}
