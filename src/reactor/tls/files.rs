//! Reads certificates and keys from their files.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ServerConfig, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{InconsistentKeys, RootCertStore};

use super::identity;
use crate::system;

/// The section `[TLS]` of the configuration.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// `CERT`: the hub's certificate and its chain, PEM.
    pub certificate: PathBuf,
    /// `KEY`: the certificate's private key, PEM.
    pub key: PathBuf,
    /// `CLIENT_CA`: the authorities that sign client certificates, PEM; `None`: no client certificate is asked for.
    pub client_ca: Option<PathBuf>,
    /// `REQUIRED`: connections without TLS are refused, except those from this machine.
    pub required: bool,
}

/// A file of `[TLS]` that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("[TLS] {key} = '{}': {reason}", path.display())]
pub struct TlsError {
    /// The setting: `CERT`, `KEY` or `CLIENT_CA`.
    pub key: &'static str,
    path: PathBuf,
    reason: String,
}

/// The configuration with the contents of its files.
#[derive(Clone, Debug)]
pub struct Tls {
    files: TlsFiles,
    config: Arc<ServerConfig>,
    expiry: Option<u64>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// The first file that cannot be read or does not match the others.
    pub fn load(files: TlsFiles) -> Result<Tls, TlsError> {
        let chain = certificates("CERT", &files.certificate)?;
        let expiry = chain.first().and_then(identity::expiry_of);
        let key = PrivateKeyDer::from_pem_file(&files.key)
            .map_err(|error| wrong("KEY", &files.key, reason(&error, "a private key")))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has what TLS 1.3 needs");
        let builder = match &files.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates("CLIENT_CA", path)? {
                    roots.add(authority).map_err(|error| wrong("CLIENT_CA", path, error.to_string()))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                let verifier =
                    verifier.map_err(|error: VerifierBuilderError| wrong("CLIENT_CA", path, error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| {
            if matches!(error, rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) {
                let certificate = files.certificate.display();
                wrong("KEY", &files.key, format!("is not the key of the certificate {certificate}"))
            } else if matches!(error, rustls::Error::InvalidCertificate(_)) {
                wrong("CERT", &files.certificate, error.to_string())
            } else {
                wrong("KEY", &files.key, error.to_string())
            }
        })?;
        // No resumption of sessions.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Tls { files, config: Arc::new(config), expiry })
    }

    /// Reads the same files again. A pipe, which may do for a start, is not waited for: agencies are served meanwhile.
    ///
    /// # Errors
    /// As [`load`](Self::load). `self` stays usable.
    pub fn reload(&self) -> Result<Tls, TlsError> {
        let TlsFiles { certificate, key, client_ca, .. } = &self.files;
        let named =
            [("CERT", certificate), ("KEY", key)].into_iter().chain(client_ca.iter().map(|path| ("CLIENT_CA", path)));
        for (key, path) in named {
            if let Some(reason) = system::not_a_file(path) {
                return Err(wrong(key, path, reason.to_owned()));
            }
        }
        Tls::load(self.files.clone())
    }

    /// When the hub's certificate ends, in seconds since the Unix epoch, where it can be read.
    pub(in crate::reactor) fn expiry(&self) -> Option<u64> {
        self.expiry
    }

    /// The configuration of a new connection. An open connection keeps the one that it began with.
    pub(in crate::reactor) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Whether a client must present a certificate. The certificate names the only agency that the client may act for.
    pub(in crate::reactor) fn asks_for_certificates(&self) -> bool {
        self.files.client_ca.is_some()
    }

    /// Whether this peer must use TLS.
    pub(in crate::reactor) fn is_required_of(&self, peer: IpAddr) -> bool {
        self.files.required && !peer.is_loopback()
    }
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let read = read.map_err(|error| wrong(key, path, reason(&error, "certificates")))?;
    if read.is_empty() {
        return Err(wrong(key, path, "there is no certificate in it".to_owned()));
    }
    Ok(read)
}

fn reason(error: &PemError, what: &str) -> String {
    if let PemError::Io(error) = error {
        error.to_string()
    } else if matches!(error, PemError::NoItemsFound) {
        format!("there is no PEM of {what} in it")
    } else {
        format!("is no PEM of {what}: {error}")
    }
}

fn wrong(key: &'static str, path: &Path, reason: String) -> TlsError {
    TlsError { key, path: path.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without_certificate() -> Arc<ServerConfig> {
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(rustls::server::ResolvesServerCertUsingSni::new()));
        Arc::new(config)
    }

    #[test]
    fn a_pipe_is_not_waited_for_when_the_files_are_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let files = TlsFiles { certificate: pipe, key: "k".into(), client_ca: None, required: true };
        let error = Tls { files, config: without_certificate(), expiry: None }.reload().unwrap_err();
        assert_eq!((error.key, error.reason.as_str()), ("CERT", "it is no file, but a pipe or a device"));
    }

    #[test]
    fn only_this_machine_may_do_without_tls_where_it_is_required() {
        let files = TlsFiles { certificate: "c".into(), key: "k".into(), client_ca: None, required: true };
        let certificate = |required| Tls {
            files: TlsFiles { required, ..files.clone() },
            config: without_certificate(),
            expiry: None,
        };
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        for (peer, required) in [
            ("127.0.0.1", false),
            ("127.9.9.9", false),
            ("::1", false),
            ("10.0.0.1", true),
            ("0.0.0.0", true),
            ("128.0.0.1", true),
            ("::2", true),
        ] {
            assert_eq!(certificate(true).is_required_of(address(peer)), required, "{peer}");
            assert!(!certificate(false).is_required_of(address(peer)));
        }
    }
}
