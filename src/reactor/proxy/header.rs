//! The header of the PROXY protocol, version 1 (a line) or 2 (binary), of which any part may have come.
//!
//! The crate `ppp` reads whole headers only. Of a part it does not always say that it is one: a line that ends behind the
//! space before the last port is an error to it, `PROXY TCP4` with a line end is a part, and `LOCAL` with addresses that it
//! should ignore is an error. So what is whole, and `LOCAL`, is decided here.

use std::net::SocketAddr;

use ppp::{v1, v2};

use crate::limits;

/// A whole header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The client; `None`: the connection is the balancer's own, or of a client without an IP address.
    pub(super) client: Option<SocketAddr>,
    /// Bytes of the header. What is behind them is the client's.
    pub(super) length: usize,
}

/// Why bytes are no header, in words that go on from "the connection".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::reactor) enum Malformed {
    /// The first bytes are others.
    #[error("it does not begin with a PROXY header")]
    Other,
    /// Longer than any that this hub reads.
    #[error("its PROXY header has more than {0} bytes")]
    TooLong(usize),
    /// Of a later version.
    #[error("its PROXY header is of version {0}, not 1 or 2")]
    Version(u8),
    /// It says that it is not a connection.
    #[error("its PROXY header is not of TCP")]
    Datagram,
    /// In the words of the parser.
    #[error("its PROXY header is malformed: {0}")]
    Wrong(String),
}

/// The first bytes of version 1.
const V1_START: &[u8] = b"PROXY ";
/// The signature of version 2, its version and command, family and protocol, and length.
const V2_FIXED_BYTES: usize = 16;
/// The command `LOCAL`, in the lower half of its byte.
const LOCAL: u8 = 0;

/// Reads the header at the start of `bytes`; `None` where it is not whole.
///
/// # Errors
/// No more bytes can make a header of these.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let begins = |start: &[u8]| bytes.iter().zip(start).all(|(byte, expected)| byte == expected);
    if begins(v2::PROTOCOL_PREFIX) {
        binary(bytes)
    } else if begins(V1_START) {
        line(bytes)
    } else {
        Err(Malformed::Other)
    }
}

fn line(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let most = bytes.len().min(limits::PROXY_LINE_BYTES_MAX);
    let Some(end) = bytes[..most].iter().position(|byte| *byte == b'\n') else {
        let is_too_long = most == limits::PROXY_LINE_BYTES_MAX;
        return if is_too_long { Err(Malformed::TooLong(limits::PROXY_LINE_BYTES_MAX)) } else { Ok(None) };
    };
    let line = &bytes[..=end];
    let header = v1::Header::try_from(line).map_err(|error| wrong(&error))?;
    if header.header.len() != line.len() {
        return Err(wrong(&"a carriage return in the middle"));
    }
    let client = match header.addresses {
        v1::Addresses::Unknown => None,
        v1::Addresses::Tcp4(ip) => Some(SocketAddr::from((ip.source_address, ip.source_port))),
        v1::Addresses::Tcp6(ip) => Some(SocketAddr::from((ip.source_address, ip.source_port))),
    };
    Ok(Some(Header { client, length: line.len() }))
}

fn binary(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let signature = v2::PROTOCOL_PREFIX.len();
    if let Some(version) = bytes.get(signature).map(|byte| byte >> 4)
        && version != 2
    {
        return Err(Malformed::Version(version));
    }
    let Some(fixed) = bytes.first_chunk::<V2_FIXED_BYTES>() else { return Ok(None) };
    let length = V2_FIXED_BYTES + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > limits::PROXY_HEADER_BYTES_MAX {
        return Err(Malformed::TooLong(limits::PROXY_HEADER_BYTES_MAX));
    }
    let Some(whole) = bytes.get(..length) else { return Ok(None) };
    if fixed[signature] & 0x0f == LOCAL {
        return Ok(Some(Header { client: None, length }));
    }
    let header = v2::Header::try_from(whole).map_err(|error| wrong(&error))?;
    if header.protocol == v2::Protocol::Datagram {
        return Err(Malformed::Datagram);
    }
    let client = match header.addresses {
        v2::Addresses::IPv4(ip) => Some(SocketAddr::from((ip.source_address, ip.source_port))),
        v2::Addresses::IPv6(ip) => Some(SocketAddr::from((ip.source_address, ip.source_port))),
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
    };
    Ok(Some(Header { client, length }))
}

fn wrong(error: &impl ToString) -> Malformed {
    Malformed::Wrong(error.to_string().trim_end_matches('.').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: &str = "203.0.113.7:5000";
    const V4: [u8; 12] = [203, 0, 113, 7, 10, 0, 0, 1, 0x13, 0x88, 0x30, 0x39];

    /// A header of version 2.
    fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        [v2::PROTOCOL_PREFIX, &[0x20 | command, family], &length, block].concat()
    }

    fn v6_block() -> Vec<u8> {
        let address = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
        [&address("2001:db8::7")[..], &address("2001:db8::1"), &[0x13, 0x88, 0x30, 0x39]].concat()
    }

    /// The header, which must be whole exactly when its last byte has come, with the client's bytes behind it or without.
    #[track_caller]
    fn whole(bytes: &[u8]) -> Option<String> {
        for most in 0..bytes.len() {
            assert_eq!(parse(&bytes[..most]), Ok(None), "{most} of {} bytes", bytes.len());
        }
        let header = parse(bytes).unwrap().unwrap();
        assert_eq!(header.length, bytes.len());
        for behind in [&b"hola\n"[..], b"\r\n", b"PROXY TCP4", &[0; 600]] {
            assert_eq!(parse(&[bytes, behind].concat()), Ok(Some(header)));
        }
        header.client.map(|client| client.to_string())
    }

    #[test]
    fn every_header_is_read_in_pieces_of_any_size_and_leaves_what_is_behind_it() {
        let client = || Some(CLIENT.to_owned());
        assert_eq!(whole(b"PROXY TCP4 203.0.113.7 10.0.0.1 5000 12345\r\n"), client());
        assert_eq!(whole(b"PROXY TCP6 2001:db8::7 2001:db8::1 5000 12345\r\n"), Some("[2001:db8::7]:5000".to_owned()));
        assert_eq!(whole(&v2(1, 0x11, &V4)), client());
        assert_eq!(whole(&v2(1, 0x21, &v6_block())), Some("[2001:db8::7]:5000".to_owned()));
        // Type-length-values, as those of `send-proxy-v2 proxy-v2-options unique-id,crc32c`.
        assert_eq!(whole(&v2(1, 0x11, &[&V4[..], &[3, 0, 4, 1, 2, 3, 4, 5, 0, 1, 9]].concat())), client());
        let longest = 536 - 16 - 12 - 3;
        assert_eq!(whole(&v2(1, 0x11, &[&V4[..], &[4, 1, 0xf9], &vec![0; longest]].concat())), client());
        assert_eq!(longest, 0x1f9);
    }

    #[test]
    fn a_header_may_name_no_client() {
        for bytes in [
            b"PROXY UNKNOWN\r\n".to_vec(),
            b"PROXY UNKNOWN 203.0.113.7 10.0.0.1 5000 12345\r\n".to_vec(),
            v2(0, 0x00, &[]),
            // What `LOCAL` has behind it does not count.
            v2(0, 0x11, &V4),
            v2(0, 0x11, &[]),
            v2(0, 0x77, &[1, 2, 3]),
            v2(1, 0x00, &[]),
            v2(1, 0x31, &[0; 216]),
        ] {
            assert_eq!(whole(&bytes), None, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn bytes_that_cannot_become_a_header_are_refused_with_what_is_wrong() {
        let long = format!("PROXY UNKNOWN {}", "f".repeat(93));
        assert_eq!(long.len(), 107);
        let other = "it does not begin with a PROXY header";
        let malformed = "its PROXY header is malformed: ";
        for (bytes, reason) in [
            (&b"\0"[..], other),
            (b"GET / HTTP/1.1\r\n", other),
            (b"PROXYTCP4", other),
            (b"proxy ", other),
            (b"\r\n\r\n\n", other),
            (b"\x16\x03\x01", other),
            (long.as_bytes(), "its PROXY header has more than 107 bytes"),
            (&v2(1, 0x11, &[0; 521]), "its PROXY header has more than 536 bytes"),
            (b"\r\n\r\n\0\r\nQUIT\n\x31", "its PROXY header is of version 3, not 1 or 2"),
            (&v2(1, 0x12, &V4), "its PROXY header is not of TCP"),
            (&v2(2, 0x11, &V4), malformed),
            (&v2(1, 0x41, &V4), malformed),
            (&v2(1, 0x11, &V4[..11]), malformed),
            (b"PROXY TCP4\r\n", malformed),
            (b"PROXY TCP5 203.0.113.7 10.0.0.1 5000 12345\r\n", malformed),
            (b"PROXY TCP4 203.0.113.7 10.0.0.1 5000\r\n", malformed),
            (b"PROXY TCP4 203.0.113.7 10.0.0.1 5000 12345\n", malformed),
            (b"PROXY TCP4 203.0.113.7 10.0.0.1 5000 65536\r\n", malformed),
            (b"PROXY TCP4 203.0.113.7 10.0.0.1 5000 123\r45\r\n", malformed),
            (b"PROXY TCP4 2001:db8::7 10.0.0.1 5000 12345\r\n", malformed),
            (b"PROXY TCP4 203.0.113.256 10.0.0.1 5000 12345\r\n", malformed),
            (b"PROXY TCP4 203.0.113.7 10.0.0.1 5000 12345 7\r\n", malformed),
            (b"PROXY TCP4 \xff\xfe 10.0.0.1 5000 12345\r\n", malformed),
            (b"PROXY \r\n", malformed),
        ] {
            let error = parse(bytes).unwrap_err().to_string();
            assert!(error.starts_with(reason), "{}: {error}", bytes.escape_ascii());
        }
        // What comes next does not make it longer, and the length is refused before its bytes come.
        assert_eq!(parse(&v2(1, 0x11, &[0; 521])[..16]), Err(Malformed::TooLong(536)));
        assert_eq!(parse(&long.as_bytes()[..106]), Ok(None));
    }

    proptest::proptest! {
        /// More bytes never change what earlier ones have decided, and no bytes panic.
        #[test]
        fn what_is_decided_stays(
            header in proptest::sample::select(vec![
                b"PROXY TCP4 203.0.113.7 10.0.0.1 5000 12345\r\nhola".to_vec(),
                b"PROXY TCP6 2001:db8::7 2001:db8::1 5000 12345\r\n".to_vec(),
                v2(1, 0x11, &V4),
                v2(1, 0x21, &v6_block()),
                v2(0, 0x11, &[]),
            ]),
            place in 0_usize..64,
            byte in proptest::num::u8::ANY,
            behind in proptest::collection::vec(proptest::num::u8::ANY, 0..600),
        ) {
            let mut bytes = header;
            if let Some(changed) = bytes.get_mut(place) {
                *changed = byte;
            }
            bytes.extend(behind);
            let all = parse(&bytes);
            for most in 0..bytes.len() {
                let part = parse(&bytes[..most]);
                assert!(part == Ok(None) || part == all, "{most} bytes: {part:?}, all: {all:?}");
            }
            assert!(bytes.len() < limits::PROXY_HEADER_BYTES_MAX || all != Ok(None));
        }
    }
}
