//! Why a connection is not there, or no longer, and whether it makes sense to try again.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

/// Why a connection could not be opened, or was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The reason in words; of a permanent one also what to do.
    pub reason: String,
    /// What follows from it.
    pub kind: Kind,
}

/// What follows from a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It may pass.
    Passing,
    /// Nothing listens at the address. It may pass.
    Refused,
    /// The hub has closed the connection. It may pass.
    Closed,
    /// The hub's name cannot be looked up. It may be wrong, or not be known yet.
    NoName,
    /// The next connection would fail in the same way.
    Permanent,
}

/// A first answer by which what listens at the address is told from a hub that carries bytes as this client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The client's own hello of TLS, as an echo.
    #[error(
        "the hub sends the hello of TLS back as an echo, so it has no TLS: leave out tls.ca (CLI_TLS_CA), \
         or set [TLS] CERT and KEY in the hub's configuration"
    )]
    NoTls,
    /// An alert of TLS.
    #[error("the hub wants TLS: set tls.ca (CLI_TLS_CA) to the authority of its certificate")]
    WantsTls,
    /// An answer of HTTP.
    #[error(
        "what listens there speaks HTTP and is no hub: correct the port in server.address (SERVER_PORT of the hub)"
    )]
    Http,
}

impl Mismatch {
    /// What the first bytes of an answer to plain bytes show. No dialect's answer begins with any of these.
    pub fn of_answer(bytes: &[u8]) -> Option<Mismatch> {
        match bytes {
            // An alert record (RFC 8446, 5.1) of two bytes.
            [0x15, 0x03, _, 0, 2, ..] => Some(Mismatch::WantsTls),
            _ if bytes.starts_with(b"HTTP/1.") => Some(Mismatch::Http),
            _ => None,
        }
    }

    /// What the first bytes of an answer to a hello of TLS show.
    pub fn of_handshake(bytes: &[u8]) -> Option<Mismatch> {
        match bytes {
            // A handshake record that begins with a hello of a client (RFC 8446, 4), which no server sends.
            [0x16, 0x03, _, _, _, 1, ..] => Some(Mismatch::NoTls),
            _ => None,
        }
    }
}

impl From<Mismatch> for io::Error {
    fn from(mismatch: Mismatch) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, mismatch)
    }
}

impl Loss {
    /// One that may pass.
    pub fn passing(reason: impl Into<String>) -> Loss {
        Loss { reason: reason.into(), kind: Kind::Passing }
    }

    /// The hub has closed the connection.
    pub fn closed(reason: impl Into<String>) -> Loss {
        Loss { reason: reason.into(), kind: Kind::Closed }
    }

    /// The look-up of a name failed.
    pub fn no_name(reason: String) -> Loss {
        Loss { reason, kind: Kind::NoName }
    }
}

impl From<String> for Loss {
    fn from(reason: String) -> Loss {
        Loss::passing(reason)
    }
}

impl From<io::Error> for Loss {
    fn from(error: io::Error) -> Loss {
        let reason = error.to_string();
        let inner = error.get_ref();
        if let Some(advice) = inner.and_then(|inner| inner.downcast_ref::<Error>()).and_then(what_to_do) {
            return Loss { reason: format!("{reason}; {advice}"), kind: Kind::Permanent };
        }
        let closes = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
        let kind = if inner.is_some_and(|inner| inner.is::<Mismatch>()) {
            Kind::Permanent
        } else if error.kind() == io::ErrorKind::ConnectionRefused {
            Kind::Refused
        } else if closes.contains(&error.kind()) {
            Kind::Closed
        } else {
            Kind::Passing
        };
        Loss { reason, kind }
    }
}

/// What to do about an error of TLS that every connection would have; `None` for one that may pass.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enums are the TLS library's, and grow")]
fn what_to_do(error: &Error) -> Option<&'static str> {
    match error {
        Error::InvalidCertificate(CertificateError::NotValidForName)
        | Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. }) => Some(
            "connect by a name that the hub's certificate has (server.address), or make one with this name (certificados.sh -s NAME)",
        ),
        // An authority of the same name with another key: certificates that were made twice.
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            Some("tls.ca must be the authority of the hub's certificate")
        }
        Error::InvalidCertificate(_) | Error::NoCertificatesPresented => Some("the hub needs another certificate"),
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            Some("what listens there does not speak TLS: correct server.address, or leave out tls.ca (CLI_TLS_CA)")
        }
        Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateRequired => Some("the hub requires a certificate: set tls.cert and tls.key"),
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::DecryptError
            | AlertDescription::AccessDenied => Some(
                "the hub refuses the certificate of tls.cert: it must be of an authority in the hub's CLIENT_CA, and valid now",
            ),
            AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure => {
                Some("the hub and the client have no version of TLS in common")
            }
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_certificates_are_permanent_and_others_may_pass() {
        let tls = |error| Loss::from(io::Error::new(io::ErrorKind::InvalidData, error));
        for (error, advice) in [
            (Error::InvalidCertificate(CertificateError::NotValidForName), "server.address"),
            (Error::InvalidCertificate(CertificateError::UnknownIssuer), "tls.ca"),
            (Error::AlertReceived(AlertDescription::CertificateRequired), "tls.cert"),
            (Error::AlertReceived(AlertDescription::UnknownCA), "tls.cert"),
            (Error::AlertReceived(AlertDescription::DecryptError), "tls.cert"),
            (Error::InvalidCertificate(CertificateError::BadSignature), "tls.ca"),
            (Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType), "CLI_TLS_CA"),
        ] {
            let loss = tls(error);
            assert!(loss.kind == Kind::Permanent && loss.reason.contains(advice), "{loss:?}");
        }
        for (loss, kind) in [
            (tls(Error::AlertReceived(AlertDescription::InternalError)), Kind::Passing),
            (Loss::from("no answer".to_owned()), Kind::Passing),
            (Loss::from(io::Error::from(io::ErrorKind::TimedOut)), Kind::Passing),
            (Loss::from(io::Error::from(io::ErrorKind::ConnectionReset)), Kind::Closed),
            (Loss::from(io::Error::from(io::ErrorKind::BrokenPipe)), Kind::Closed),
            (Loss::from(io::Error::from(io::ErrorKind::ConnectionRefused)), Kind::Refused),
        ] {
            assert_eq!(loss.kind, kind, "{loss:?}");
        }
    }

    #[test]
    fn answers_of_another_protocol_are_told_from_those_of_dialects() {
        let of = Mismatch::of_answer;
        assert_eq!(of(&[0x15, 3, 3, 0, 2, 2, 10]), Some(Mismatch::WantsTls));
        assert_eq!(of(b"HTTP/1.1 400 Bad Request\r\n"), Some(Mismatch::Http));
        for answer in
            [&b"\xb7LN\x01\x01"[..], b"", b"\x15", b"\0", b"20\nERROR_INVALID_AGENCY", b"HTTP", b"\0\0\0\x15\x03"]
        {
            assert_eq!(of(answer), None, "{answer:?}");
        }
        assert_eq!(Mismatch::of_handshake(&[0x16, 3, 1, 0, 200, 1, 0, 0]), Some(Mismatch::NoTls));
        assert_eq!(Mismatch::of_handshake(&[0x16, 3, 3, 0, 200, 2, 0, 0]), None, "a server's hello");
        let loss = Loss::from(io::Error::from(Mismatch::NoTls));
        assert!(loss.kind == Kind::Permanent && loss.reason.contains("tls.ca"), "{loss:?}");
    }
}
