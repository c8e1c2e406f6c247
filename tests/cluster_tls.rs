//! TLS with the name verified, and passwords, to PostgreSQL: a hub serves, or ends at once with 2 and one line that says why.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod common;
mod engine_kit;

use std::io::Write;
use std::net::{Shutdown, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::machine::{has, skip};
use common::{Start, binary_batch, hub_over};
use engine_kit::{Engine, PASSWORD};
use loteria::reactor::{EngineHost, EngineNetwork, EngineTls};
use loteria::storage::{Network, Waiting};

/// A wait that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// A hub that demands TLS of `engine`, whose certificate has the name 127.0.0.1.
fn encrypted(engine: &Engine, folder: &Path) -> Start {
    hub_over(&engine.address.to_string(), PASSWORD)
        .env("POSTGRES_TLS", "verify-full")
        .env("POSTGRES_CA", folder.join("ca.crt").to_str().unwrap())
}

/// Ends with 2 and one line, with all of `said` in it.
#[track_caller]
fn refused(start: Start, said: &[&str]) {
    let (code, _, error) = start.run();
    assert_eq!(code, Some(2), "{said:?}: {error}");
    assert!(said.iter().all(|said| error.contains(said)) && error.lines().count() == 1, "{said:?}: {error}");
}

/// Stores a batch.
fn serves(start: Start) {
    let hub = start.start();
    let mut agency = hub.connect();
    agency.send(&binary_batch(1, 11, 7574));
    agency.expect(&[0]);
}

#[test]
fn it_serves_with_tls_or_says_in_one_line_why_it_cannot() {
    if !has("openssl") {
        return skip("openssl is not installed");
    }
    let Some(mut engine) = Engine::start() else { return };
    let made = tempfile::tempdir().unwrap();
    let folder = made.path();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/certificados.sh");
    let output = Command::new("sh").args([script, "-n", "1", "-s", "127.0.0.1", "-w"]).arg(folder).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let host = engine.address.to_string();

    refused(encrypted(&engine, folder), &[&host, "it does not serve TLS: set ssl = on"]);
    // The operator's command says the same.
    let config = format!(
        "[STORAGE]\nENGINE = postgres\n[POSTGRES]\nHOSTS = {host}\nTLS = verify-full\nCA = {}/ca.crt\n",
        folder.display()
    );
    std::fs::write(folder.join("config.ini"), config).unwrap();
    let loteria = || Command::new(env!("CARGO_BIN_EXE_loteria"));
    let output = loteria().arg("--config").arg(folder.join("config.ini")).arg("verify").output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains(&format!("{host}: no TLS to PostgreSQL: it does not serve TLS: set ssl = on")), "{error}");

    engine.serve_tls(folder, "expired-server", "");
    refused(encrypted(&engine, folder), &[&host, "invalid peer certificate: certificate expired"]);

    engine.serve_tls(folder, "impostor", "");
    refused(encrypted(&engine, folder), &[&host, "invalid peer certificate: UnknownIssuer", "look at TLS, CA"]);

    engine.serve_tls(folder, "server", "");
    serves(encrypted(&engine, folder));
    let encrypted_all = engine.ask("SELECT count(*) FROM loteria.batches");
    assert_eq!(encrypted_all, "1");
    let other_name = format!("127.0.0.2:{}", engine.address.port());
    refused(
        encrypted(&engine, folder).env("POSTGRES_HOSTS", &other_name),
        &[&other_name, "invalid peer certificate: certificate not valid for name"],
    );
    // A node that is lost may have taken its name with it.
    let hub = encrypted(&engine, folder).env("POSTGRES_HOSTS", &format!("lost.invalid:5432,{host}")).start();
    hub.wait_for("result: in_progress | host: lost.invalid:5432 | reason: ");
    drop(hub);
    refused(encrypted(&engine, folder).file("password", "another\n"), &[&host, "refuses user 'loteria'", "password"]);

    engine.serve_tls(folder, "server", "hostssl all loteria 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\n");
    let with = |name: &str| {
        let file = |end: &str| folder.join(format!("{name}.{end}")).to_str().unwrap().to_owned();
        encrypted(&engine, folder).env("POSTGRES_CERT", &file("crt")).env("POSTGRES_KEY", &file("key"))
    };
    serves(with("agency-1"));
    refused(encrypted(&engine, folder), &[&host, "requires a valid client certificate"]);
    refused(with("untrusted"), &[&host, "received fatal alert"]);
}

/// A server that is started again or killed does so: a hub that waits for more of it would lose seconds.
#[test]
fn an_end_of_the_connection_in_the_middle_of_the_handshake_is_noticed() {
    if !has("openssl") {
        return skip("openssl is not installed");
    }
    let made = tempfile::tempdir().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/certificados.sh");
    let output =
        Command::new("sh").args([script, "-n", "1", "-s", "127.0.0.1", "-w"]).arg(made.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    for answer in [&b"S"[..], b""] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = EngineHost { address: listener.local_addr().unwrap(), name: "127.0.0.1".to_owned() };
        let tls = EngineTls::load(&made.path().join("ca.crt"), None).unwrap();
        let mut network = EngineNetwork::new(vec![host], Some(tls)).unwrap();
        let link = network.connect(0).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        server.write_all(answer).unwrap();
        server.shutdown(Shutdown::Write).unwrap();
        let error = loop {
            match network.read(link, &mut [0; 64]) {
                Ok(None) => assert!(network.wait_ready(PATIENCE).unwrap(), "the end is not noticed"),
                Ok(Some(bytes)) => panic!("{bytes} bytes"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.to_string(), "PostgreSQL has ended the connection in the middle of the TLS handshake");
    }
}
