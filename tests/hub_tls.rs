//! TLS on the hub's one port: who is let in, whom a certificate lets one speak for, and what hostile bytes get.
//! Peers are openssl's own client and rustls's.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use common::machine::{Network, eventually, has, is_root, peak_memory_bytes, skip};
use common::{Hub, PATIENCE, Peer, Start, binary, binary_batch, binary_bet, hub, under};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Made once for all tests of this file; `None` where there is no openssl.
static AUTHORITY: LazyLock<Option<Authority>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    has("openssl").then(|| {
        make_certificates(folder.path(), &["-n", "3", "-w"]);
        Authority { folder }
    })
});

/// A folder of certificates.
struct Authority {
    folder: tempfile::TempDir,
}

fn make_certificates(folder: &Path, options: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/certificados.sh");
    let output = Command::new("sh").arg(script).args(options).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

impl Authority {
    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.file(name).to_str().unwrap().to_owned()
    }
}

/// The certificates, or why there are none.
macro_rules! authority {
    () => {
        match AUTHORITY.as_ref() {
            Some(authority) => authority,
            None => return skip("certificates need openssl"),
        }
    };
}

/// A hub with a certificate.
fn secure(authority: &Authority) -> Start {
    let start = hub().env("LOTTERY_AGENCIES", "3").env("SERVER_LISTEN_BACKLOG", "128");
    start.env("TLS_CERT", &authority.text("server.crt")).env("TLS_KEY", &authority.text("server.key"))
}

/// A hub that asks for certificates.
fn guarded(authority: &Authority) -> Start {
    secure(authority).env("TLS_CLIENT_CA", &authority.text("ca.crt"))
}

type Secured = StreamOwned<ClientConnection, TcpStream>;

fn client_config(authority: &Authority, identity: Option<&str>) -> Arc<ClientConfig> {
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

fn secured(authority: &Authority, stream: TcpStream, identity: Option<&str>) -> Secured {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(client_config(authority, identity), name).unwrap(), stream)
}

fn connect(authority: &Authority, hub: &Hub, identity: Option<&str>) -> Secured {
    secured(authority, hub.connect().stream, identity)
}

#[track_caller]
fn expect(stream: &mut Secured, bytes: &[u8]) {
    let mut answer = vec![0; bytes.len()];
    if let Err(error) = stream.read_exact(&mut answer) {
        panic!("expected {}: {error}", bytes.escape_ascii());
    }
    assert_eq!(answer.escape_ascii().to_string(), bytes.escape_ascii().to_string());
}

/// openssl's client with standard input and output as the conversation: what it said, and what it wrote on
/// standard error.
fn s_client(authority: &Authority, hub: &Hub, options: &[&str], said: &[u8]) -> (Vec<u8>, String) {
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

fn identity(authority: &Authority, name: &str) -> Vec<String> {
    vec!["-cert".into(), authority.text(&format!("{name}.crt")), "-key".into(), authority.text(&format!("{name}.key"))]
}

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
        (Some("stranger"), "UnknownIssuer", "unknown ca"),
        (Some("expired"), "certificate expired", "certificate expired"),
        // The hub's own certificate is not for clients.
        (Some("server"), "not allow", "alert"),
        (Some("nobody"), "its common name is somebody, not agency- and a number", ""),
    ] {
        let (heard, said) = ask(name);
        assert_eq!(heard, b"", "{name:?}");
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
        let (heard, said) = s_client(authority, &hub, &[], b"hola\n");
        assert_eq!(heard, b"");
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

/// What each dialect of agency `agency` sends as its first batch (or hello), and hears where it may not.
fn trespasses(agency: u8) -> Vec<(&'static str, Vec<u8>, &'static [u8])> {
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
    for (dialect, bytes, refusal) in trespasses(2) {
        let mut peer = connect(authority, &hub, Some("agency-1"));
        peer.write_all(&bytes).unwrap();
        let skipped = if dialect == "key-value" { 4 } else { 0 };
        peer.read_exact(&mut [0; 4][..skipped]).unwrap();
        expect(&mut peer, refusal);
    }
    hub.wait_for_count("action: authorize | result: in_progress | ip: 127.0.0.1 | agency: 2", 7);
    assert_eq!(hub.rows(), b"", "nothing was stored for another");
    // Its own is welcome, in each of them.
    for (dialect, bytes, refusal) in trespasses(1).into_iter().filter(|(dialect, ..)| !dialect.ends_with("query")) {
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
fn both_ends_say_goodbye() {
    let authority = authority!();
    let hub = secure(authority).start();
    let mut peer = connect(authority, &hub, None);
    peer.write_all(b"hola\n").unwrap();
    let mut heard = Vec::new();
    // Without a goodbye this is an error: somebody may have cut the answer short.
    peer.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, b"hola\n");
    // A peer's own goodbye ends its side only.
    let mut peer = connect(authority, &hub, None);
    peer.write_all(b"half a line").unwrap();
    peer.conn.send_close_notify();
    peer.flush().unwrap();
    let mut heard = Vec::new();
    peer.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, b"half a line");
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
    assert_eq!(foreign.rest(), b"");
    hub.wait_for("action: tls | result: fail | ip: 10.75.74.1 | reason: it does not use TLS, which is required");
    let mut encrypted = secured(authority, connect("10.75.74.1"), None);
    encrypted.write_all(b"hola\n").unwrap();
    let mut heard = Vec::new();
    encrypted.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, b"hola\n");
}

/// The certificate that a new connection is shown.
fn shown(authority: &Authority, hub: &Hub) -> CertificateDer<'static> {
    let mut peer = connect(authority, hub, Some("agency-1"));
    peer.write_all(b"hola\n").unwrap();
    let mut heard = Vec::new();
    peer.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, b"hola\n");
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
        (&[("TLS_CERT", &certificate)], "KEY", "[TLS] CERT needs"),
        (&[("TLS_KEY", &key)], "CERT", "[TLS] KEY needs"),
        (&[("TLS_CLIENT_CA", &file("ca.crt"))], "CERT", "[TLS] CLIENT_CA needs"),
        (&[("TLS_REQUIRED", "on")], "CERT", "[TLS] REQUIRED = on needs"),
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
fn a_slow_handshake_ends_with_its_time_out() {
    let authority = authority!();
    let hub = secure(authority).env("LIMITS_HANDSHAKE_TIMEOUT", "500ms").start();
    let mut peer = hub.connect();
    // A record of which a byte comes now and then.
    let mut sent = 0;
    while hub.count("no dialect within HANDSHAKE_TIMEOUT") == 0 {
        let _ = peer.stream.write_all(&[[0x16, 3, 1, 2, 0, 1][sent.min(5)]]);
        sent += 1;
        assert!(sent < 600);
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    // A handshake alone says nothing of a dialect.
    let mut mute = connect(authority, &hub, None);
    mute.flush().unwrap();
    assert_eq!(mute.read(&mut [0]).unwrap(), 0, "a goodbye");
    hub.wait_for_count("no dialect within HANDSHAKE_TIMEOUT", 2);
}

#[test]
fn bytes_that_are_no_tls_are_refused_with_an_alert_and_cost_little() {
    let authority = authority!();
    let hub = secure(authority).start();
    let mut healthy = connect(authority, &hub, None);
    healthy.write_all(&binary_batch(1, 1, 1)).unwrap();
    expect(&mut healthy, &[0]);
    let record = |length: u16, bytes: &[u8]| {
        let mut record = vec![0x16, 3, 1];
        record.extend(length.to_be_bytes());
        record.extend(bytes);
        record
    };
    // A message of 16 MiB in records of 16 KiB, which would have to be kept until it is whole.
    let mut endless = record(16_384, &[&[1, 0xff, 0xff, 0xff][..], &[0; 16_380]].concat());
    endless.extend(record(16_384, &[0; 16_384]).repeat(4));
    for bytes in [
        record(5, b"hello"),
        record(0xffff, &[1; 100]),
        record(4, &[1, 0, 0, 0]),
        record(0, b"").repeat(100),
        [0x16, 3].repeat(200),
        endless,
    ] {
        let mut peer = hub.connect();
        let _ = peer.stream.write_all(&bytes);
        let _ = peer.stream.shutdown(Shutdown::Write);
        let mut heard = Vec::new();
        let _ = peer.stream.read_to_end(&mut heard);
        assert!(heard.is_empty() || heard[0] == 21, "an alert, if anything: {}", heard.escape_ascii());
    }
    hub.wait_for_count("action: tls | result: fail", 5);
    // Records that nobody encrypted, after a good handshake.
    let mut peer = connect(authority, &hub, None);
    peer.write_all(&binary(2, &[2], &[])).unwrap();
    expect(&mut peer, &[0]);
    peer.sock.write_all(&[23, 3, 3, 0, 40]).unwrap();
    peer.sock.write_all(&[7; 40]).unwrap();
    assert!(peer.read(&mut [0]).is_err(), "an alert");
    hub.wait_for("reason: cannot decrypt peer's message");
    healthy.write_all(&binary_batch(1, 2, 1)).unwrap();
    expect(&mut healthy, &[0]);
    assert_eq!(hub.count("the TLS library failed"), 0);
}

#[test]
fn a_connection_cut_in_the_middle_of_a_handshake_leaves_nothing() {
    let authority = authority!();
    let hub = secure(authority).start();
    let before = common::machine::descriptors(hub.child.id());
    for sent in [1, 2, 5, 50, 200] {
        let mut client =
            ClientConnection::new(client_config(authority, None), ServerName::try_from("localhost").unwrap()).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        let mut peer = hub.connect();
        peer.send(&hello[..sent.min(hello.len())]);
    }
    eventually("nothing is left of them", || common::machine::descriptors(hub.child.id()) == before);
}

#[test]
fn many_handshakes_at_once_hold_up_nobody_and_cost_what_is_counted() {
    const PEERS: usize = 200;
    let authority = authority!();
    let hub = secure(authority).start();
    let mut healthy = hub.connect();
    healthy.send(&binary_batch(1, 0, 1));
    healthy.expect(&[0]);
    let before = peak_memory_bytes(hub.child.id());
    let mut peers: Vec<_> = (0..PEERS).map(|_| connect(authority, &hub, None)).collect();
    std::thread::scope(|scope| {
        for some in peers.chunks_mut(PEERS / 4) {
            scope.spawn(|| {
                for peer in some {
                    peer.write_all(&binary(2, &[2], &[])).unwrap();
                    expect(peer, &[0]);
                }
            });
        }
        for document in 1..50 {
            healthy.send(&binary_batch(1, document, 1));
            healthy.expect(&[0]);
        }
    });
    let each = (peak_memory_bytes(hub.child.id()) - before) / PEERS;
    assert!(each < 2 * loteria::limits::TLS_CONNECTION_BYTES, "{each} bytes for each connection");
}

#[test]
fn a_peer_that_does_not_read_encrypted_winners_is_dropped_and_may_ask_again() {
    let authority = authority!();
    let hub = secure(authority).env("LOTTERY_AGENCIES", "1").env("LIMITS_WRITE_TIMEOUT", "700ms").start();
    let mut agency = connect(authority, &hub, None);
    for hundred in 0..100 {
        let documents = hundred * 1000..(hundred + 1) * 1000;
        let bets: Vec<u8> = documents.flat_map(|number| binary_bet("A", "B", number, 19_990_317, 7574)).collect();
        agency.write_all(&binary(1, &[1, 1000], &bets)).unwrap();
        expect(&mut agency, &[0]);
    }
    agency.write_all(&[binary(2, &[1], &[]), binary(3, &[1], &[])].concat()).unwrap();
    let mut winners = vec![9; 1 + 1 + 4 + 4 * 100_000];
    agency.read_exact(&mut winners).unwrap();
    assert_eq!(winners[..6], [0, 0, 0, 1, 0x86, 0xa0]);
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&hub.address.into()).unwrap();
    let mut deaf = secured(authority, socket.into(), None);
    // Enough answers that they do not fit between the two.
    deaf.write_all(&binary(3, &[1], &[]).repeat(4)).unwrap();
    hub.wait_for("reason: the peer does not read what it is sent, for WRITE_TIMEOUT");
    assert!(deaf.read_to_end(&mut Vec::new()).is_err(), "cut short, and no goodbye that would hide it");
    let mut again = connect(authority, &hub, None);
    again.write_all(&binary(3, &[1], &[])).unwrap();
    expect(&mut again, &winners[1..]);
}

#[test]
fn a_peer_that_begins_to_read_in_the_moment_it_is_dropped_harms_nobody() {
    let authority = authority!();
    let hub = secure(authority).env("LOTTERY_AGENCIES", "1").env("LIMITS_WRITE_TIMEOUT", "500ms").start();
    let mut agency = connect(authority, &hub, None);
    for hundred in 0..100 {
        let documents = hundred * 1000..(hundred + 1) * 1000;
        let bets: Vec<u8> = documents.flat_map(|number| binary_bet("A", "B", number, 19_990_317, 7574)).collect();
        agency.write_all(&binary(1, &[1, 1000], &bets)).unwrap();
        expect(&mut agency, &[0]);
    }
    agency.write_all(&binary(2, &[1], &[])).unwrap();
    expect(&mut agency, &[0]);
    let mut deaf = connect(authority, &hub, None);
    deaf.write_all(&binary(3, &[1], &[]).repeat(20)).unwrap();
    let mut start = vec![0; 1000];
    deaf.read_exact(&mut start).unwrap();
    // While the hub stands still its patience ends, and the socket takes more than before.
    hub.signal(19);
    std::thread::sleep(Duration::from_millis(600));
    deaf.sock.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    while deaf.read(&mut [0; 16 * 1024]).is_ok() {}
    hub.signal(18);
    hub.wait_for("reason: the peer does not read what it is sent, for WRITE_TIMEOUT");
    agency.write_all(&binary(3, &[1], &[])).unwrap();
    expect(&mut agency, &start[..6]);
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

const BET: [(&str, &str); 5] = [
    ("NOMBRE", "Santiago Lionel"),
    ("APELLIDO", "Lorca"),
    ("DOCUMENTO", "30904465"),
    ("NACIMIENTO", "1999-03-17"),
    ("NUMERO", "7574"),
];

#[test]
fn the_projects_client_uploads_and_hears_its_winners_encrypted() {
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
        (Some("stranger"), "1", "UnknownCA"),
        (Some("nobody"), "1", ""),
        (Some("agency-1"), "2", "may not speak for this agency"),
    ] {
        let file = |suffix: &str| name.map_or(String::new(), |name| authority.text(&format!("{name}.{suffix}")));
        let (certificate, key) = (file("crt"), file("key"));
        let environment = [&BET[..], &[("CLI_TLS_CERT", &certificate), ("CLI_TLS_KEY", &key)]].concat();
        let (code, log) = client(authority, &hub, id, &environment);
        assert_eq!(code, Some(1), "{name:?}: {log}");
        assert!(log.contains(reason), "{name:?}: {log}");
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
        assert_eq!(hub.rows(), b"");
    }
    // A name that the certificate does not have.
    let elsewhere = secure(authority).env("BIND_ADDRESS", "0.0.0.0").start();
    let address = format!("127.0.0.2:{}", elsewhere.address.port());
    let other = [&BET[..], &[("CLI_SERVER_ADDRESS", &address)]].concat();
    let (code, log) = client(authority, &elsewhere, "1", &other);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("not valid for name"), "{log}");
}

#[test]
fn the_projects_client_names_the_key_of_a_file_that_is_of_no_use() {
    let authority = authority!();
    let hub = secure(authority).start();
    let (certificate, key) = (authority.text("agency-1.crt"), authority.text("agency-2.key"));
    let cases: [(&[(&str, &str)], &str); 5] = [
        (&[("CLI_TLS_CA", "nowhere.crt")], "tls.ca is 'nowhere.crt': No such file"),
        (&[("CLI_TLS_CA", ""), ("CLI_TLS_CERT", &certificate)], "need tls.ca"),
        (&[("CLI_TLS_CERT", &certificate)], "tls.cert needs tls.key"),
        (&[("CLI_TLS_KEY", &key)], "tls.key needs tls.cert"),
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
    let (code, log) = client(authority, &hub, "1", &[("CLI_LOOP_AMOUNT", "3"), ("CLI_LOOP_PERIOD", "1ms")]);
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(log.matches("action: receive_message | result: success").count(), 3, "{log}");
    assert!(log.contains("action: loop_finished | result: success"), "{log}");
}
