//! Certificates for the tests, and peers that use them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::common::machine::has;
use crate::common::{Hub, PATIENCE, Start, hub};

/// Made once for all tests of this file; `None` where there is no openssl.
pub static AUTHORITY: LazyLock<Option<Authority>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    has("openssl").then(|| {
        make_certificates(folder.path(), &["-n", "3", "-w"]);
        Authority { folder }
    })
});

/// A folder of certificates.
pub struct Authority {
    pub folder: tempfile::TempDir,
}

pub fn make_certificates(folder: &Path, options: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/certificados.sh");
    let output = Command::new("sh").arg(script).args(options).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

impl Authority {
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.file(name).to_str().unwrap().to_owned()
    }
}

/// The certificates, or why there are none.
macro_rules! authority {
    () => {
        match crate::authority::AUTHORITY.as_ref() {
            Some(authority) => authority,
            None => return crate::common::machine::skip("certificates need openssl"),
        }
    };
}
pub(crate) use authority;

/// A hub with a certificate.
pub fn secure(authority: &Authority) -> Start {
    let start = hub().env("LOTTERY_AGENCIES", "3");
    start.env("TLS_CERT", &authority.text("server.crt")).env("TLS_KEY", &authority.text("server.key"))
}

/// A hub that asks for certificates.
pub fn guarded(authority: &Authority) -> Start {
    secure(authority).env("TLS_CLIENT_CA", &authority.text("ca.crt"))
}

pub type Secured = StreamOwned<ClientConnection, TcpStream>;

pub fn client_config(authority: &Authority, identity: Option<&str>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.file("ca.crt")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    Arc::new(match identity {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let certificate = CertificateDer::from_pem_file(authority.file(&format!("{name}.crt"))).unwrap();
            let key = PrivateKeyDer::from_pem_file(authority.file(&format!("{name}.key"))).unwrap();
            builder.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    })
}

pub fn secured(authority: &Authority, stream: TcpStream, identity: Option<&str>) -> Secured {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(client_config(authority, identity), name).unwrap(), stream)
}

pub fn connect(authority: &Authority, hub: &Hub, identity: Option<&str>) -> Secured {
    secured(authority, hub.connect().stream, identity)
}

#[track_caller]
pub fn expect(stream: &mut Secured, bytes: &[u8]) {
    let mut answer = vec![0; bytes.len()];
    if let Err(error) = stream.read_exact(&mut answer) {
        panic!("expected {}: {error}", bytes.escape_ascii());
    }
    assert_eq!(answer.escape_ascii().to_string(), bytes.escape_ascii().to_string());
}

/// openssl's client with standard input and output as the conversation: what it said, and what it wrote on
/// standard error.
pub fn s_client(authority: &Authority, hub: &Hub, options: &[&str], said: &[u8]) -> (Vec<u8>, String) {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-quiet", "-verify_return_error", "-connect", &hub.address.to_string()]);
    command.args(["-CAfile", &authority.text("ca.crt")]).args(options);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("openssl is there");
    let mut stdin = child.stdin.take().unwrap();
    let _ = stdin.write_all(said);
    // It goes on reading until the hub's end: `-quiet` says so.
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
}

pub fn identity(authority: &Authority, name: &str) -> Vec<String> {
    vec!["-cert".into(), authority.text(&format!("{name}.crt")), "-key".into(), authority.text(&format!("{name}.key"))]
}
