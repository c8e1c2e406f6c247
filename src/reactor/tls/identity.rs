//! The agency that a client certificate names.

use rustls::pki_types::CertificateDer;
use x509_cert::der::Decode;
use x509_cert::der::oid::db::rfc4519::CN;
use x509_cert::{Certificate, TbsCertificate};

use crate::lottery::AgencyId;

/// The start of a common name, before the agency's number.
const PREFIX: &str = "agency-";

/// The agency of a certificate that has been verified: its subject has exactly one common name, `agency-N`.
///
/// # Errors
/// In words, what is wrong with the common name.
pub(super) fn agency_of(certificate: &CertificateDer<'_>) -> Result<AgencyId, String> {
    let certificate = Certificate::from_der(certificate).map_err(|error| format!("it cannot be read: {error}"))?;
    let name = common_name(certificate.tbs_certificate())?;
    agency_named(&name).ok_or_else(|| format!("its common name is {name}, not {PREFIX} and a number"))
}

/// When a certificate ends, in seconds since the Unix epoch; `None` where it cannot be read.
pub(super) fn expiry_of(certificate: &CertificateDer<'_>) -> Option<u64> {
    let certificate = Certificate::from_der(certificate).ok()?;
    Some(certificate.tbs_certificate().validity().not_after.to_unix_duration().as_secs())
}

fn common_name(certificate: &TbsCertificate) -> Result<String, String> {
    let subject = certificate.subject();
    match subject.iter().filter(|attribute| attribute.oid == CN).count() {
        1 => match subject.common_name() {
            Ok(Some(name)) => Ok(name.value().into_owned()),
            Ok(None) | Err(_) => Err("its common name cannot be read".to_owned()),
        },
        0 => Err("it has no common name".to_owned()),
        _ => Err("it has several common names".to_owned()),
    }
}

/// The agency of a name in canonical form: no sign, no leading zero.
fn agency_named(name: &str) -> Option<AgencyId> {
    let id = AgencyId(name.strip_prefix(PREFIX)?.parse().ok()?);
    (name == format!("{PREFIX}{id}")).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_an_agency_only_in_one_spelling() {
        assert_eq!(agency_named("agency-1"), Some(AgencyId(1)));
        assert_eq!(agency_named("agency-4294967295"), Some(AgencyId(u32::MAX)));
        for name in [
            "agency-",
            "agency-01",
            "agency-+1",
            "agency--1",
            "agency-1 ",
            " agency-1",
            "Agency-1",
            "agency-1.0",
            "agency-4294967296",
            "agency-1\0",
            "agency-١",
            "server",
            "",
        ] {
            assert_eq!(agency_named(name), None, "{name}");
        }
    }
}
