//! Certificates for the hub, so that hostile peers have TLS to begin.

use std::path::Path;
use std::process::Command;

/// A certificate for the hub and its key, in a folder that is gone when this is dropped.
pub struct Certificates {
    cert: String,
    key: String,
    _folder: tempfile::TempDir,
}

impl Certificates {
    /// Has `tools/certificados.sh` make them.
    ///
    /// # Errors
    /// In one line: openssl is not here, as a rule.
    pub fn make() -> Result<Certificates, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/certificados.sh");
        let made = Command::new("sh").arg(script).args(["-n", "1"]).arg(folder.path()).output();
        let made = made.map_err(|error| format!("sh: {error}"))?;
        if !made.status.success() {
            return Err(String::from_utf8_lossy(&made.stderr).trim().to_owned());
        }
        let file = |name: &str| folder.path().join(name).display().to_string();
        Ok(Certificates { cert: file("server.crt"), key: file("server.key"), _folder: folder })
    }

    /// What tells a hub of them.
    pub fn environment(&self) -> [(&str, &str); 2] {
        [("TLS_CERT", &self.cert), ("TLS_KEY", &self.key)]
    }
}
