//! A ledger behind what drops the settings that it asks for, as a connection pooler does.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod engine_kit;

use std::io::{Read, Write, copy};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::spawn;

use engine_kit::Engine;
use engine_kit::desk::{Desk, options};
use loteria::storage::{LedgerError, LedgerOptions};

/// Takes one connection to `engine`, and leaves all but the user and the database out of its first message.
fn pooler(engine: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    spawn(move || {
        let (mut hub, mut server) = (listener.accept().unwrap().0, TcpStream::connect(engine).unwrap());
        let mut length = [0; 4];
        hub.read_exact(&mut length).unwrap();
        let mut message = vec![0; u32::from_be_bytes(length) as usize - 4];
        hub.read_exact(&mut message).unwrap();
        let version = &message[..4];
        let words = b"user\0loteria\0database\0loteria\0\0";
        let length = u32::try_from(4 + version.len() + words.len()).unwrap();
        server.write_all(&[&length.to_be_bytes(), version, words].concat()).unwrap();
        let (mut from_hub, mut to_server) = (hub.try_clone().unwrap(), server.try_clone().unwrap());
        spawn(move || copy(&mut from_hub, &mut to_server));
        let _either_may_end = copy(&mut server, &mut hub);
    });
    address
}

#[test]
fn a_session_without_the_settings_that_were_asked_for_is_refused() {
    let Some(engine) = Engine::start() else { return };
    let open = |hosts: &str| {
        let options = LedgerOptions { hosts: vec![hosts.to_owned()], ..options(&engine, 1) };
        Desk::try_open(options).1
    };
    for (setting, value) in [("synchronous_commit", "off"), ("default_transaction_isolation", "serializable")] {
        engine.ask(&format!("ALTER DATABASE loteria SET {setting} = '{value}'"));
        assert!(open(&engine.address.to_string()).is_ok(), "the hub's own setting counts");
        let Err(LedgerError::Session { setting: found, value: is, .. }) = open(&pooler(engine.address).to_string())
        else {
            panic!("{setting} is not looked at");
        };
        assert_eq!((found, is.as_str()), (setting, value));
        engine.ask(&format!("ALTER DATABASE loteria RESET {setting}"));
    }
}
