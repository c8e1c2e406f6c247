//! The client's TLS: authorities, certificate and key.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig as RustlsConfig, ClientConnection, RootCertStore};

use crate::config::ConfigError;
use crate::config::client::{ClientConfig, TlsPaths};

/// The TLS configuration of every connection to the hub.
#[derive(Clone, Debug)]
pub struct Tls {
    config: Arc<RustlsConfig>,
    hub: ServerName<'static>,
}

impl Tls {
    /// Loads the files of `config`; `None` without TLS.
    ///
    /// # Errors
    /// A file that cannot be used; the message names its key.
    pub fn load(config: &ClientConfig) -> Result<Option<Tls>, ConfigError> {
        let Some(TlsPaths { ca, identity }) = &config.tls else { return Ok(None) };
        let (host, _) = config.host_and_port();
        let hub = ServerName::try_from(host.to_owned()).map_err(|_| {
            ConfigError(format!("server.address is '{}', which no certificate can name", config.server_address))
        })?;
        let mut roots = RootCertStore::empty();
        for authority in certificates("tls.ca", ca)? {
            roots.add(authority).map_err(|error| wrong("tls.ca", ca, &error.to_string()))?;
        }
        let builder = RustlsConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has what TLS 1.3 needs")
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates("tls.cert", certificate)?;
                let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable("tls.key", key, &error))?;
                builder
                    .with_client_auth_cert(chain, private)
                    .map_err(|error| wrong("tls.key", key, &format!("{error}, beside {}", certificate.display())))?
            }
        };
        Ok(Some(Tls { config: Arc::new(config), hub }))
    }

    /// A TLS session for a new connection.
    pub(super) fn session(&self) -> io::Result<Box<ClientConnection>> {
        let session = ClientConnection::new(Arc::clone(&self.config), self.hub.clone());
        session.map(Box::new).map_err(io::Error::other)
    }
}

fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let read = read.map_err(|error| unreadable(key, path, &error))?;
    if read.is_empty() {
        return Err(wrong(key, path, "there is no certificate in it"));
    }
    Ok(read)
}

fn unreadable(key: &str, path: &Path, error: &PemError) -> ConfigError {
    if let PemError::Io(error) = error {
        wrong(key, path, &error.to_string())
    } else {
        wrong(key, path, &format!("it is no PEM of what is needed: {error}"))
    }
}

fn wrong(key: &str, path: &Path, reason: &str) -> ConfigError {
    ConfigError(format!("{key} is '{}': {reason}", path.display()))
}
