//! TLS on the hub's one port: which clients are admitted, the agency that a certificate permits, and hostile bytes.
//! Peers are openssl's own client and rustls's.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod abuse;
mod authority;
mod client;
#[path = "../common/mod.rs"]
mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use authority::{
    Authority, Secured, authority, connect, expect, guarded, identity, make_certificates, s_client, secure, secured,
};
use common::machine::{Network, has, is_root, skip};
use common::{Hub, PATIENCE, Peer, binary, binary_batch, hub, under};
use rustls::pki_types::CertificateDer;

#[test]
fn openssl_is_served_with_the_right_certificate_and_refused_with_any_other() {
    let authority = authority!();
    let hub = guarded(authority).start();
    let ask = |name: Option<&str>| {
        let options = name.map_or(Vec::new(), |name| identity(authority, name));
        s_client(authority, &hub, &options.iter().map(String::as_str).collect::<Vec<_>>(), b"hola\n")
    };
    assert_eq!(ask(Some("agency-1")).0, b"hola\n");
    for (name, reason, alert) in [
        (None, "peer sent no certificates", "certificate required"),
        (Some("untrusted"), "UnknownIssuer", "unknown ca"),
        (Some("expired"), "certificate expired", "certificate expired"),
        // The hub's own certificate is not for clients.
        (Some("server"), "not allow", "alert"),
        (Some("no-agency"), "its common name is visitor, not agency- and a number", ""),
    ] {
        let (received, said) = ask(name);
        assert_eq!(received, b"", "{name:?}");
        assert!(said.contains(alert), "{name:?}: {said}");
        let line = hub.wait_for(reason);
        assert!(line.contains("action: tls | result: fail | ip: 127.0.0.1"), "{name:?}: {line}");
    }
    assert_eq!(ask(Some("agency-2")).0, b"hola\n", "the others still get in");
}

#[test]
fn openssl_refuses_a_hub_that_is_not_the_one() {
    let authority = authority!();
    for (name, reason) in [("impostor", "unable to get"), ("expired-server", "certificate has expired")] {
        let start = hub().env("TLS_CERT", &authority.text(&format!("{name}.crt")));
        let hub = start.env("TLS_KEY", &authority.text(&format!("{name}.key"))).start();
        let (received, said) = s_client(authority, &hub, &[], b"hola\n");
        assert_eq!(received, b"");
        assert!(said.contains(reason), "{name}: {said}");
    }
}

#[test]
fn nothing_older_than_tls_1_3_is_spoken() {
    let authority = authority!();
    let hub = secure(authority).start();
    assert_eq!(s_client(authority, &hub, &["-tls1_3"], b"hola\n").0, b"hola\n");
    assert_eq!(s_client(authority, &hub, &["-tls1_2"], b"hola\n").0, b"");
    hub.wait_for("action: tls | result: fail | ip: 127.0.0.1 | reason: peer is incompatible");
}

#[test]
fn plain_and_encrypted_peers_share_the_port_and_the_draw() {
    let authority = authority!();
    let hub = secure(authority).env("LOTTERY_AGENCIES", "2").start();
    let mut first = connect(authority, &hub, None);
    let mut second = hub.connect();
    first.write_all(&binary(3, &[1], &[])).unwrap();
    let mut uploads = connect(authority, &hub, None);
    uploads.write_all(&binary_batch(1, 11, 7574)).unwrap();
    expect(&mut uploads, &[0]);
    second.send(&binary_batch(2, 22, 7574));
    second.expect(&[0]);
    uploads.write_all(&[binary(2, &[1], &[]), binary(2, &[2], &[])].concat()).unwrap();
    expect(&mut uploads, &[0, 0]);
    expect(&mut first, &[0, 0, 0, 0, 1, 0, 0, 0, 11]);
    second.send(&binary(3, &[2], &[]));
    second.expect(&[0, 0, 0, 0, 1, 0, 0, 0, 22]);
}

#[test]
fn behind_a_balancer_tls_begins_behind_the_header_and_is_required_by_the_clients_address() {
    let authority = authority!();
    let start = guarded(authority).env("TLS_REQUIRED", "on").env("PROXY_FROM", "127.0.0.1");
    let hub = start.start();
    let header = b"PROXY TCP4 203.0.113.7 10.0.0.1 5000 12345\r\n";
    let mut stream = hub.connect().stream;
    stream.write_all(header).unwrap();
    let mut agency = secured(authority, stream, Some("agency-1"));
    agency.write_all(&binary_batch(1, 11, 7574)).unwrap();
    expect(&mut agency, &[0]);
    hub.wait_for("action: hello | result: success | ip: 203.0.113.7 | port: 5000 | dialect: binary | agency: 1");
    // The balancer's own address, which is this machine's, is no reason to do without.
    let mut plain = hub.connect();
    plain.send(&[&header[..], &binary_batch(1, 12, 7574)].concat());
    let _ = plain.stream.read_to_end(&mut Vec::new());
    hub.wait_for("action: tls | result: fail | ip: 203.0.113.7 | reason: it does not use TLS, which is required");
    assert_eq!(hub.rows().iter().filter(|byte| **byte == b'\n').count(), 1);
}

#[test]
fn a_first_byte_alone_is_not_yet_tls() {
    let authority = authority!();
    let hub = secure(authority).start();
    for line in [&b"\x16"[..], b"\x16\n", b"\x16\x04\n", b"\x17\x03\n", b"x"] {
        let mut peer = hub.connect();
        for byte in line {
            peer.send(&[*byte]);
        }
        peer.half_close();
        assert_eq!(peer.rest(), line);
    }
    // Where it is not configured it is a line like any other.
    let plain = common::hub().start();
    let mut peer = plain.connect();
    peer.send(b"\x16\x03\x01\n");
    assert_eq!(peer.rest(), b"\x16\x03\x01\n");
}

/// The first batch (or hello) of agency `agency` in each dialect, and the reply to a connection that may not speak for
/// it.
fn unauthorized(agency: u8) -> Vec<(&'static str, Vec<u8>, &'static [u8])> {
    let line = format!("Ana|Paz|30904465|1999-03-17|7574|{agency}");
    let text = format!("{}\n{line}", line.len());
    let bet = format!(
        r"NOMBRE:Ana\|APELLIDO:Paz\|DOCUMENTO:30904465\|NACIMIENTO:1999-03-17\|NUMERO:7574\|AGENCY_ID:{agency}"
    );
    let pairs = format!("BATCH_SIZE:1|BET_1:{bet}\n");
    let mut key_value = u32::try_from(pairs.len()).unwrap().to_be_bytes().to_vec();
    key_value.extend(pairs.as_bytes());
    let mut case_id = vec![0, 0, 0, agency];
    for field in ["Ana", "Paz", "30904465", "1999-03-17"] {
        case_id.extend(u32::try_from(field.len()).unwrap().to_be_bytes());
        case_id.extend(field.as_bytes());
    }
    case_id.extend(7574u32.to_be_bytes());
    let mut case_id = [&[1][..], &u32::try_from(case_id.len()).unwrap().to_be_bytes(), &case_id].concat();
    // Only its finish is answered.
    case_id.push(2);
    vec![
        ("binary", binary_batch(agency.into(), 30_904_465, 7574), &[1]),
        ("binary query", binary(3, &[agency.into()], &[]), &[1]),
        ("text", text.into_bytes(), b"20\nERROR_INVALID_AGENCY"),
        ("text query", format!("13\nGET_WINNERS|{agency}").into_bytes(), b"20\nERROR_INVALID_AGENCY"),
        ("key-value", key_value, b"STATUS:ERROR|"),
        ("case-id", case_id, &[0]),
        ("native", [b"\xb7LN\x01\0\0\0", &[agency][..]].concat(), b"\xb7LN\x01\x02"),
    ]
}

#[test]
fn a_certificate_speaks_for_its_own_agency_only_in_every_dialect() {
    let authority = authority!();
    let hub = guarded(authority).start();
    for (dialect, bytes, refusal) in unauthorized(2) {
        let mut peer = connect(authority, &hub, Some("agency-1"));
        peer.write_all(&bytes).unwrap();
        let skipped = if dialect == "key-value" { 4 } else { 0 };
        peer.read_exact(&mut [0; 4][..skipped]).unwrap();
        expect(&mut peer, refusal);
    }
    hub.wait_for_count("action: authorize | result: in_progress | ip: 127.0.0.1 | agency: 2", 7);
    assert_eq!(hub.rows(), b"", "nothing was stored for another");
    // Its own is welcome, in each of them.
    for (dialect, bytes, refusal) in unauthorized(1).into_iter().filter(|(dialect, ..)| !dialect.ends_with("query")) {
        let mut peer = connect(authority, &hub, Some("agency-1"));
        peer.write_all(&bytes).unwrap();
        let mut answer = vec![0; refusal.len()];
        let skipped = if dialect == "key-value" { 4 } else { 0 };
        peer.read_exact(&mut [0; 4][..skipped]).unwrap();
        // The finish of `case-id` is last but one: what follows would be late.
        if dialect != "case-id" {
            peer.read_exact(&mut answer[..1]).unwrap();
            assert_ne!(answer[0], if dialect == "binary" { 1 } else { b'2' }, "{dialect}");
        }
    }
    hub.wait_for("action: apuesta_almacenada | result: success | dni: 30904465");
}

#[test]
fn a_connection_that_names_no_agency_is_its_certificates() {
    let authority = authority!();
    let hub = guarded(authority).start();
    let mut peer = connect(authority, &hub, Some("agency-3"));
    let bets = b"Ana,Paz,30904465,1999-03-17,7574,";
    peer.write_all(&[&[1, 0, u8::try_from(bets.len()).unwrap()][..], bets].concat()).unwrap();
    expect(&mut peer, &[2]);
    assert_eq!(hub.rows(), b"3,Ana,Paz,30904465,1999-03-17,7574\r\n", "not the first that is free");
}

#[test]
fn encrypted_bytes_mean_the_same_however_they_are_split() {
    let authority = authority!();
    let hub = secure(authority).start();
    let mut peer = secured(authority, hub.connect().stream, None);
    // A whole conversation, every encrypted byte of which is sent by itself.
    let say = |peer: &mut Secured, bytes: &[u8]| {
        peer.conn.writer().write_all(bytes).unwrap();
        let mut records = Vec::new();
        while peer.conn.wants_write() {
            peer.conn.write_tls(&mut records).unwrap();
        }
        for byte in records {
            peer.sock.write_all(&[byte]).unwrap();
        }
    };
    while peer.conn.is_handshaking() {
        say(&mut peer, b"");
        if peer.conn.wants_read() && peer.conn.is_handshaking() {
            peer.conn.read_tls(&mut peer.sock).unwrap();
            peer.conn.process_new_packets().unwrap();
        }
    }
    for document in 0..10 {
        say(&mut peer, &binary_batch(1, document, 1));
        expect(&mut peer, &[0]);
    }
    // And many records in one go.
    let many: Vec<u8> = (10..5000).flat_map(|document| binary_batch(1, document, 1)).collect();
    let mut reader = peer.sock.try_clone().unwrap();
    peer.conn.set_buffer_limit(None);
    for bytes in many.chunks(100) {
        peer.conn.writer().write_all(bytes).unwrap();
    }
    let mut records = Vec::new();
    while peer.conn.wants_write() {
        peer.conn.write_tls(&mut records).unwrap();
    }
    let sending = std::thread::spawn(move || reader.write_all(&records).unwrap());
    expect(&mut peer, &vec![0; 4990]);
    sending.join().unwrap();
    assert_eq!(hub.rows().iter().filter(|byte| **byte == b'\n').count(), 5000);
}

#[test]
fn both_ends_send_close_notify() {
    let authority = authority!();
    let hub = secure(authority).start();
    let mut peer = connect(authority, &hub, None);
    peer.write_all(b"hola\n").unwrap();
    let mut received = Vec::new();
    // Without a close_notify this is an error: the answer may have been truncated.
    peer.read_to_end(&mut received).unwrap();
    assert_eq!(received, b"hola\n");
    // A peer's close_notify ends its side only.
    let mut peer = connect(authority, &hub, None);
    peer.write_all(b"half a line").unwrap();
    peer.conn.send_close_notify();
    peer.flush().unwrap();
    let mut received = Vec::new();
    peer.read_to_end(&mut received).unwrap();
    assert_eq!(received, b"half a line");
}

#[test]
fn where_tls_is_required_only_this_machine_may_do_without() {
    let authority = authority!();
    if !is_root() || !has("ip") {
        return skip("a network of its own needs root and ip");
    }
    let Some(network) = Network::new("required") else {
        return skip("a network of its own needs the right to make one");
    };
    assert!(network.run("ip address add 10.75.74.1/32 dev lo"));
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let start = under(&["ip", "netns", "exec", &network.0], folder).env("BIND_ADDRESS", "0.0.0.0");
    let start = start.env("TLS_CERT", &authority.text("server.crt")).env("TLS_KEY", &authority.text("server.key"));
    let hub = start.env("TLS_REQUIRED", "on").start();
    let connect = |address: &str| {
        let stream = network.inside(|| TcpStream::connect((address, hub.address.port())).unwrap());
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    let mut local = Peer { stream: connect("127.0.0.1") };
    local.send(b"hola\n");
    assert_eq!(local.rest(), b"hola\n");
    let mut foreign = Peer { stream: connect("10.75.74.1") };
    foreign.send(b"hola\n");
    assert_eq!(foreign.rest(), [0x15, 3, 3, 0, 2, 2, 10], "an alert of TLS, and nothing else");
    hub.wait_for("action: tls | result: fail | ip: 10.75.74.1 | reason: it does not use TLS, which is required");
    let address = format!("10.75.74.1:{}", hub.address.port());
    let (code, log) = client::in_network(&network, hub.folder.path(), &address);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("result: fail") && log.contains("the hub wants TLS: set tls.ca"), "{log}");
    assert!(!log.contains("retry_in"), "{log}");
    let mut encrypted = secured(authority, connect("10.75.74.1"), None);
    encrypted.write_all(b"hola\n").unwrap();
    let mut received = Vec::new();
    encrypted.read_to_end(&mut received).unwrap();
    assert_eq!(received, b"hola\n");
}

/// The certificate that a new connection is shown.
fn shown(authority: &Authority, hub: &Hub) -> CertificateDer<'static> {
    let mut peer = connect(authority, hub, Some("agency-1"));
    peer.write_all(b"hola\n").unwrap();
    let mut received = Vec::new();
    peer.read_to_end(&mut received).unwrap();
    assert_eq!(received, b"hola\n");
    peer.conn.peer_certificates().unwrap()[0].clone().into_owned()
}

#[test]
fn sighup_reads_certificates_again_and_bad_ones_change_nothing() {
    let mine = tempfile::tempdir().unwrap();
    if !has("openssl") {
        return skip("certificates need openssl");
    }
    make_certificates(mine.path(), &["-n", "1"]);
    let authority = Authority { folder: mine };
    let hub = guarded(&authority).start();
    let mut stays = connect(&authority, &hub, Some("agency-1"));
    stays.write_all(&binary_batch(1, 1, 1)).unwrap();
    expect(&mut stays, &[0]);
    let old = shown(&authority, &hub);
    make_certificates(authority.folder.path(), &["-n", "1"]);
    assert_eq!(shown(&authority, &hub), old, "nothing is read before it is asked for");
    hub.signal(1);
    hub.wait_for("action: reload | result: success");
    let new = shown(&authority, &hub);
    assert_ne!(new, old);
    stays.write_all(&binary_batch(1, 2, 1)).unwrap();
    expect(&mut stays, &[0]);
    for (file, bytes) in [("server.crt", &b"no certificate"[..]), ("server.key", b""), ("ca.crt", b"\0\xff")] {
        let good = std::fs::read(authority.file(file)).unwrap();
        std::fs::write(authority.file(file), bytes).unwrap();
        hub.signal(1);
        let key = match file {
            "server.crt" => "CERT",
            "server.key" => "KEY",
            _ => "CLIENT_CA",
        };
        let line = hub.wait_for(&format!("action: reload | result: fail | reason: [TLS] {key} = "));
        assert!(line.ends_with("the old certificates stay"), "{line}");
        std::fs::write(authority.file(file), good).unwrap();
        assert_eq!(shown(&authority, &hub), new);
    }
}

#[test]
fn sighup_without_certificates_does_no_harm() {
    let hub = hub().start();
    hub.signal(1);
    hub.wait_for("action: reload | result: success");
    assert_eq!(hub.terminate().0.code(), Some(0));
}

#[test]
fn a_configuration_that_cannot_work_is_refused_with_the_key_that_is_wrong() {
    let authority = authority!();
    let file = |name: &str| authority.text(name);
    let (certificate, key) = (file("server.crt"), file("server.key"));
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str);
    let cases: &[Case<'_>] = &[
        (&[("TLS_CERT", &certificate)], "KEY", "environment: [TLS] CERT needs"),
        (&[("TLS_KEY", &key)], "CERT", "environment: [TLS] KEY needs"),
        (&[("TLS_CLIENT_CA", &file("ca.crt"))], "CERT", "environment: [TLS] CLIENT_CA needs"),
        (&[("TLS_REQUIRED", "on")], "CERT", "environment: [TLS] REQUIRED = on needs"),
        (&[("TLS_REQUIRED", "perhaps")], "TLS_REQUIRED", "must be on or off"),
        (&[("TLS_CERT", "nowhere.crt"), ("TLS_KEY", &key)], "[TLS] CERT", "No such file"),
        (&[("TLS_CERT", &certificate), ("TLS_KEY", "nowhere.key")], "[TLS] KEY", "No such file"),
        (&[("TLS_CERT", &key), ("TLS_KEY", &key)], "[TLS] CERT", "there is no certificate in it"),
        (&[("TLS_CERT", &certificate), ("TLS_KEY", &certificate)], "[TLS] KEY", "there is no PEM of a private key"),
        (&[("TLS_CERT", &certificate), ("TLS_KEY", &file("ca.key"))], "[TLS] KEY", "is not the key of"),
        (
            &[("TLS_CERT", &certificate), ("TLS_KEY", &key), ("TLS_CLIENT_CA", &key)],
            "[TLS] CLIENT_CA",
            "there is no certificate in it",
        ),
    ];
    for (environment, named, reason) in cases {
        let start = environment.iter().fold(hub(), |start, (key, value)| start.env(key, value));
        let (code, out, err) = start.arg("--check").run();
        assert_eq!(code, Some(2), "{environment:?}: {out}{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
        assert!(err.contains(named) && err.contains(reason), "{environment:?}: {err}");
    }
}

#[test]
fn certificados_makes_what_it_says() {
    let authority = authority!();
    for (name, subject) in [("server", "CN = server"), ("agency-3", "CN = agency-3")] {
        let certificate = authority.text(&format!("{name}.crt"));
        let output =
            Command::new("openssl").args(["x509", "-noout", "-subject", "-in", &certificate]).output().unwrap();
        let said = BufReader::new(&output.stdout[..]).lines().next().unwrap().unwrap();
        assert_eq!(said.replace("CN=", "CN = "), format!("subject={subject}"));
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/certificados.sh");
    let output = Command::new("sh").arg(&script).args(["-n", "many"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("-n many"));
    // Other names, and an agency more for the same authority.
    let folder = tempfile::tempdir().unwrap();
    make_certificates(folder.path(), &["-n", "1"]);
    let before = std::fs::read(folder.path().join("ca.crt")).unwrap();
    make_certificates(folder.path(), &["-n", "2", "-s", "hub.example,10.0.0.7"]);
    assert_eq!(std::fs::read(folder.path().join("ca.crt")).unwrap(), before);
    assert!(folder.path().join("agency-2.crt").exists());
    let server = folder.path().join("server.crt");
    let output = Command::new("openssl").args(["x509", "-noout", "-text", "-in"]).arg(server).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("DNS:hub.example") && said.contains("IP Address:10.0.0.7"), "{said}");
}
