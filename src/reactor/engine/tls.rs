//! TLS to PostgreSQL: only with the host's name verified. The hub asks for it with a message of its own before the handshake
//! (`SSLRequest`, "Message Flow" in PostgreSQL's protocol), and goes on without it in no case.

use std::fmt;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, ClientConfig, ClientConnection, RootCertStore};

use crate::storage::Refused;

/// `SSLRequest`: its length, and the code that stands in the place of a protocol version.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// The answer of a server that goes on with the handshake.
const YES: u8 = b'S';
/// The answer of one that has no TLS.
const NO: u8 = b'N';

/// The configuration of every encrypted connection to PostgreSQL.
#[derive(Clone, Debug)]
pub struct EngineTls(Arc<ClientConfig>);

impl EngineTls {
    /// Loads the authority that signs PostgreSQL's certificates, and the hub's own certificate and key, if it has them.
    ///
    /// # Errors
    /// A file that cannot be used; the message names its key and path.
    pub fn load(ca: &Path, own: Option<&(PathBuf, PathBuf)>) -> Result<EngineTls, String> {
        let mut roots = RootCertStore::empty();
        for authority in certificates("CA", ca)? {
            roots.add(authority).map_err(|error| wrong("CA", ca, &error))?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has what TLS 1.3 needs")
            .with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates("CERT", certificate)?;
                let private = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong("KEY", key, &error))?;
                builder.with_client_auth_cert(chain, private).map_err(|error| wrong("KEY", key, &error))?
            }
        };
        Ok(EngineTls(Arc::new(config)))
    }

    /// A session with the host of this name, which its certificate must have.
    ///
    /// # Errors
    /// A name that no certificate can have.
    pub(super) fn session(&self, host: &str) -> io::Result<TlsSession> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| refused(format!("'{host}' is a name that no certificate can have")))?;
        let session = ClientConnection::new(Arc::clone(&self.0), name).map_err(io::Error::other)?;
        Ok(TlsSession { asked: 0, answered: false, session: Box::new(session) })
    }
}

fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let read = read.map_err(|error| wrong(key, path, &error))?;
    if read.is_empty() { Err(wrong(key, path, &"there is no certificate in it")) } else { Ok(read) }
}

fn wrong(key: &str, path: &Path, reason: &dyn fmt::Display) -> String {
    format!("{key} = {}: {reason}", path.display())
}

/// An error that the next connection would have again.
fn refused(reason: impl Into<String>) -> io::Error {
    io::Error::other(Refused(reason.into()))
}

/// The server has ended the connection before TLS stood.
fn ended() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "PostgreSQL has ended the connection in the middle of the TLS handshake",
    )
}

/// A certificate stays as it is until a person changes it, and so does what a server demands. What is malformed may be a
/// connection's own misfortune.
fn told(error: rustls::Error) -> io::Error {
    use rustls::Error::{AlertReceived, InvalidCertificate, PeerIncompatible};
    let is_its_own_trouble = matches!(error, AlertReceived(AlertDescription::InternalError));
    let stays = matches!(error, InvalidCertificate(_) | AlertReceived(_) | PeerIncompatible(_));
    if stays && !is_its_own_trouble { refused(error.to_string()) } else { io::Error::other(error) }
}

/// TLS on one connection, from the question whether the server serves it on.
#[derive(Debug)]
pub(super) struct TlsSession {
    /// Bytes of the question that were sent.
    asked: usize,
    /// The server goes on with the handshake.
    answered: bool,
    session: Box<ClientConnection>,
}

impl TlsSession {
    /// Goes on with the start, and sends what is encrypted. Says whether the session stands.
    pub(super) fn go_on(&mut self, stream: &mut TcpStream) -> io::Result<bool> {
        while self.asked < SSL_REQUEST.len() {
            self.asked += stream.write(&SSL_REQUEST[self.asked..])?;
        }
        if !self.answered {
            let mut answer = [0];
            // One byte: what is behind it belongs to the handshake.
            match stream.read(&mut answer)? {
                0 => return Err(ended()),
                _ if answer[0] == YES => self.answered = true,
                _ if answer[0] == NO => {
                    return Err(refused("it does not serve TLS: set ssl = on in its configuration"));
                }
                _ => return Err(io::Error::other("PostgreSQL answers the question for TLS with an error")),
            }
        }
        self.send(stream)?;
        if self.session.is_handshaking() {
            self.receive(stream)?;
            self.send(stream)?;
        }
        Ok(!self.session.is_handshaking())
    }

    fn send(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(stream) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn receive(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        while self.session.wants_read() {
            match self.session.read_tls(stream) {
                // Nothing more comes that could end the handshake.
                Ok(0) if self.session.is_handshaking() => return Err(ended()),
                Ok(0) => break,
                Ok(_) => {
                    let processed = self.session.process_new_packets();
                    if let Err(error) = processed {
                        // The alert that says why.
                        let _the_error_is_told_anyhow = self.send(stream);
                        return Err(told(error));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Encrypts and sends as much as there is room for.
    pub(super) fn write(&mut self, stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
        if !self.go_on(stream)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = self.session.writer().write(bytes)?;
        self.send(stream)?;
        if taken == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }

    /// Receives and decrypts.
    pub(super) fn read(&mut self, stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.go_on(stream)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        match self.decrypted(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done,
        }
        self.receive(stream)?;
        self.decrypted(buffer)
    }

    /// What was received and is not read yet. A server that is killed ends the connection without a word of TLS: that is an end
    /// as any other, for PostgreSQL's messages have lengths.
    fn decrypted(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.session.reader().read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            done => done,
        }
    }
}
