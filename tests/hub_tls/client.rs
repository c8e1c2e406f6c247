//! The project's own client over TLS.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::authority::{Authority, authority, guarded, secure};
use crate::common::machine::Network;
use crate::common::{Hub, hub};

/// The project's client as agency `id`: its exit code and what it logged.
fn client(authority: &Authority, hub: &Hub, id: &str, environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.env_clear().current_dir(hub.folder.path());
    let address = format!("localhost:{}", hub.address.port());
    command.env("CLI_ID", id).env("CLI_SERVER_ADDRESS", address).env("CLI_PATIENCE", "1s");
    command.env("CLI_TLS_CA", authority.text("ca.crt"));
    for (key, value) in environment {
        command.env(key, value);
    }
    let output = command.stdin(Stdio::null()).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// The project's client without TLS, in a network of its own: its exit code and what it logged.
pub fn in_network(network: &Network, folder: &Path, address: &str) -> (Option<i32>, String) {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &network.0, env!("CARGO_BIN_EXE_client"), "--server", address]);
    let output = command.current_dir(folder).envs(BET).stdin(Stdio::null()).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

const BET: [(&str, &str); 5] = [
    ("NOMBRE", "Santiago Lionel"),
    ("APELLIDO", "Lorca"),
    ("DOCUMENTO", "30904465"),
    ("NACIMIENTO", "1999-03-17"),
    ("NUMERO", "7574"),
];

#[test]
fn the_projects_client_uploads_and_gets_its_winners_encrypted() {
    let authority = authority!();
    let hub = guarded(authority).env("LOTTERY_AGENCIES", "3").start();
    let bets: String =
        (0..5000).map(|document| format!("Ana,Paz,{document},1999-03-17,{}\r\n", document % 2500)).collect();
    std::fs::write(hub.path("bets-of-all.csv"), bets.replace(",0\r\n", ",7574\r\n")).unwrap();
    let ended: Vec<(Option<i32>, String)> = std::thread::scope(|scope| {
        let clients: Vec<_> = [("1", "native"), ("2", "binary"), ("3", "text")]
            .map(|(id, protocol)| {
                let hub = &hub;
                scope.spawn(move || {
                    let name = format!("agency-{id}");
                    let (certificate, key) =
                        (authority.text(&format!("{name}.crt")), authority.text(&format!("{name}.key")));
                    let environment = [
                        ("CLI_DATA", "bets-of-all.csv"),
                        ("CLI_PROTOCOL", protocol),
                        ("CLI_TLS_CERT", &certificate),
                        ("CLI_TLS_KEY", &key),
                    ];
                    client(authority, hub, id, &environment)
                })
            })
            .into_iter()
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    for (code, log) in ended {
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("action: consulta_ganadores | result: success | cant_ganadores: 2"), "{log}");
    }
    assert_eq!(hub.rows().iter().filter(|byte| **byte == b'\n').count(), 15_000);
    assert_eq!(hub.count("action: tls | result: fail"), 0);
}

#[test]
fn the_projects_client_is_refused_with_no_certificate_or_a_wrong_one_or_anothers_number() {
    let authority = authority!();
    let hub = guarded(authority).start();
    for (name, id, reason) in [
        (None, "1", "CertificateRequired"),
        (Some("expired"), "1", "CertificateExpired"),
        (Some("untrusted"), "1", "UnknownCA"),
        (Some("no-agency"), "1", ""),
        (Some("agency-1"), "2", "may not speak for this agency"),
    ] {
        let file = |suffix: &str| name.map_or(String::new(), |name| authority.text(&format!("{name}.{suffix}")));
        let (certificate, key) = (file("crt"), file("key"));
        let environment = [&BET[..], &[("CLI_TLS_CERT", &certificate), ("CLI_TLS_KEY", &key)]].concat();
        let (code, log) = client(authority, &hub, id, &environment);
        assert_eq!(code, Some(1), "{name:?}: {log}");
        assert!(log.contains(reason), "{name:?}: {log}");
        // What cannot pass is said at once, with what to do.
        assert!(reason.is_empty() || log.contains("tls.cert") && !log.contains("given_up_after"), "{name:?}: {log}");
    }
    assert_eq!(hub.rows(), b"");
    let (certificate, key) = (authority.text("agency-2.crt"), authority.text("agency-2.key"));
    let environment = [&BET[..], &[("CLI_TLS_CERT", &certificate), ("CLI_TLS_KEY", &key)]].concat();
    let (code, log) = client(authority, &hub, "2", &environment);
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(hub.rows(), b"2,Santiago Lionel,Lorca,30904465,1999-03-17,7574\r\n");
}

#[test]
fn the_projects_client_refuses_a_hub_that_is_not_the_one() {
    let authority = authority!();
    for (name, reason) in [("impostor", "UnknownIssuer"), ("expired-server", "expired")] {
        let start = hub().env("TLS_CERT", &authority.text(&format!("{name}.crt")));
        let hub = start.env("TLS_KEY", &authority.text(&format!("{name}.key"))).start();
        let (code, log) = client(authority, &hub, "1", &BET);
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains(reason), "{log}");
        assert!(!log.contains("retry_in") && !log.contains("given_up_after"), "{log}");
        assert_eq!(hub.rows(), b"");
    }
    // A name that the certificate does not have.
    let elsewhere = secure(authority).env("BIND_ADDRESS", "0.0.0.0").start();
    let address = format!("127.0.0.2:{}", elsewhere.address.port());
    let other = [&BET[..], &[("CLI_SERVER_ADDRESS", &address)]].concat();
    let (code, log) = client(authority, &elsewhere, "1", &other);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("not valid for name") && log.contains("server.address") && !log.contains("retry_in"), "{log}");
}

#[test]
fn the_projects_client_ends_at_once_where_the_hub_has_no_tls() {
    let authority = authority!();
    for mode in [&BET[..], &[("CLI_MODE", "echo")]] {
        let (code, log) = client(authority, &hub().start(), "1", mode);
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains("so it has no TLS: leave out tls.ca (CLI_TLS_CA)"), "{log}");
        assert!(!log.contains("retry_in") && !log.contains("given_up_after"), "{log}");
    }
    // Without the echo nothing comes back: that may pass, and is explained.
    let silent = hub().env("LIMITS_ECHO", "off").start();
    let (code, log) = client(authority, &silent, "1", &BET);
    assert_eq!(code, Some(1), "{log}");
    assert_eq!(log.matches("it may have no TLS (leave out tls.ca), be full, or not serve native").count(), 1, "{log}");
}

#[test]
fn the_projects_client_names_the_key_of_a_file_that_is_of_no_use() {
    let authority = authority!();
    let hub = secure(authority).start();
    let (certificate, key) = (authority.text("agency-1.crt"), authority.text("agency-2.key"));
    let cases: [(&[(&str, &str)], &str); 5] = [
        (&[("CLI_TLS_CA", "nowhere.crt")], "tls.ca is 'nowhere.crt': No such file"),
        (&[("CLI_TLS_CA", ""), ("CLI_TLS_CERT", &certificate)], "CLI_TLS_CERT: tls.cert and tls.key need tls.ca"),
        (&[("CLI_TLS_CERT", &certificate)], "CLI_TLS_CERT: tls.cert needs tls.key"),
        (&[("CLI_TLS_KEY", &key)], "CLI_TLS_KEY: tls.key needs tls.cert"),
        (&[("CLI_TLS_CERT", &certificate), ("CLI_TLS_KEY", &key)], "tls.key is '"),
    ];
    for (environment, reason) in cases {
        let (code, said) = client(authority, &hub, "1", environment);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(reason) && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn the_projects_clients_echo_is_encrypted_too() {
    let authority = authority!();
    let hub = secure(authority).start();
    let (code, log) =
        client(authority, &hub, "1", &[("CLI_MODE", "echo"), ("CLI_LOOP_AMOUNT", "3"), ("CLI_LOOP_PERIOD", "1ms")]);
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(log.matches("action: receive_message | result: success").count(), 3, "{log}");
    assert!(log.contains("action: loop_finished | result: success"), "{log}");
}
