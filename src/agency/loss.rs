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
    /// The hub's name cannot be looked up. It may be wrong, or not be known yet.
    NoName,
    /// The next connection would fail in the same way.
    Permanent,
}

impl Loss {
    /// One that may pass.
    pub fn passing(reason: impl Into<String>) -> Loss {
        Loss { reason: reason.into(), kind: Kind::Passing }
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
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        match tls.and_then(what_to_do) {
            Some(advice) => Loss { reason: format!("{error}; {advice}"), kind: Kind::Permanent },
            None if error.kind() == io::ErrorKind::ConnectionRefused => {
                Loss { reason: error.to_string(), kind: Kind::Refused }
            }
            None => Loss::passing(error.to_string()),
        }
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
            Some("what listens there does not speak TLS: correct server.address, or leave out tls.ca")
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
        ] {
            let loss = tls(error);
            assert!(loss.kind == Kind::Permanent && loss.reason.contains(advice), "{loss:?}");
        }
        for loss in [
            tls(Error::AlertReceived(AlertDescription::InternalError)),
            Loss::from(io::Error::from(io::ErrorKind::ConnectionReset)),
            Loss::from("no answer".to_owned()),
        ] {
            assert_eq!(loss.kind, Kind::Passing, "{loss:?}");
        }
        assert_eq!(Loss::from(io::Error::from(io::ErrorKind::ConnectionRefused)).kind, Kind::Refused);
    }
}
