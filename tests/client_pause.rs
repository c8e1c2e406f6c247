//! A client that is stopped for longer than its answer time-out and then continued: its own pause is not a silence of
//! the hub, and an answer that lies in its socket is read before time is judged.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod client_kit;

use std::time::Duration;

use client_kit::{Client, Ended, FakeHub, Peer, Start, client};

/// The time-out of the clients here: long enough for a busy machine to answer.
const ANSWER_TIMEOUT: &str = "4s";
/// Longer than that. Nothing but time makes a time-out pass.
const PAUSE: Duration = Duration::from_millis(4500);
/// The dialects in which a batch is acknowledged.
const ACKNOWLEDGED: [&str; 5] = ["binary", "text", "key-value", "csv", "native"];

/// When the answer comes.
#[derive(Clone, Copy, Debug)]
enum Answer {
    WhileStopped,
    AfterContinuing,
}

fn bet(hub: &FakeHub, protocol: &str) -> Start {
    client()
        .hub(hub.address)
        .env("CLI_PROTOCOL", protocol)
        .env("CLI_ANSWER_TIMEOUT", ANSWER_TIMEOUT)
        .env("NOMBRE", "Santiago Lionel")
        .env("APELLIDO", "Lorca")
        .env("DOCUMENTO", "30904465")
        .env("NACIMIENTO", "1999-03-17")
        .env("NUMERO", "7574")
}

/// Reads a batch of `protocol`, to its last byte.
fn take_batch(peer: &mut Peer, protocol: &str) {
    match protocol {
        "binary" => assert_eq!(peer.binary().0, 1),
        "text" => {
            let length = peer.line().trim().parse().unwrap();
            peer.read(length);
        }
        "key-value" => {
            let length = peer.u32() as usize;
            peer.read(length);
        }
        "csv" => {
            assert_eq!(peer.read(1), [1]);
            let length = u16::from_be_bytes(peer.read(2).try_into().unwrap());
            peer.read(length.into());
        }
        "native" => assert_eq!(peer.native_batch(), (0, 1)),
        other => panic!("{other} is not played here"),
    }
}

fn acknowledge(peer: &mut Peer, protocol: &str) {
    match protocol {
        "binary" => peer.write(&[0]),
        "text" => peer.write(b"3\nACK"),
        "key-value" => {
            let answer = b"STATUS:SUCCESS|MESSAGE:ok\n";
            peer.write(&u32::try_from(answer.len()).unwrap().to_be_bytes());
            peer.write(answer);
        }
        "csv" => peer.write(&[2]),
        "native" => peer.native_ack(1),
        other => panic!("{other} is not played here"),
    }
}

/// Stops the client for [`PAUSE`], with or without `answer` in its socket.
fn pause(running: &Client, when: Answer, answer: impl FnOnce()) {
    running.signal("STOP");
    running.wait_for_state('T');
    match when {
        Answer::WhileStopped => {
            answer();
            std::thread::sleep(PAUSE);
            running.signal("CONT");
        }
        Answer::AfterContinuing => {
            std::thread::sleep(PAUSE);
            running.signal("CONT");
            // It waits again: whatever it makes of the time that has passed, it has made.
            running.wait_for_state('S');
            answer();
        }
    }
}

fn assert_one_connection(ended: &Ended) {
    assert_eq!((ended.code, ended.errors.as_str()), (Some(0), ""), "{}", ended.log);
    let connected = ended.said("connect");
    assert!(connected.len() == 1 && connected[0].contains("result: success"), "{}", ended.log);
}

#[test]
fn an_acknowledgement_is_not_missed_over_a_pause() {
    std::thread::scope(|scope| {
        for (protocol, when) in ACKNOWLEDGED
            .into_iter()
            .flat_map(|protocol| [Answer::WhileStopped, Answer::AfterContinuing].map(|when| (protocol, when)))
        {
            scope.spawn(move || {
                let hub = FakeHub::new();
                let running = bet(&hub, protocol).start();
                let mut peer = hub.accept();
                if protocol == "native" {
                    peer.native_hello(1, 0);
                }
                take_batch(&mut peer, protocol);
                pause(&running, when, || acknowledge(&mut peer, protocol));
                let ended = running.end();
                assert_one_connection(&ended);
                assert_eq!(ended.said("apuesta_enviada").len(), 1, "{protocol}, {when:?}: {}", ended.log);
                assert_eq!(peer.rest(), b"", "{protocol}, {when:?}: the batch is sent once");
            });
        }
    });
}

#[test]
fn a_welcome_or_an_echo_is_not_missed_over_a_pause() {
    std::thread::scope(|scope| {
        for when in [Answer::WhileStopped, Answer::AfterContinuing] {
            scope.spawn(move || {
                let hub = FakeHub::new();
                let running = bet(&hub, "native").start();
                let mut peer = hub.accept();
                assert_eq!(peer.read(8), [0xB7, b'L', b'N', 1, 0, 0, 0, 1]);
                let welcome = [0xB7, b'L', b'N', 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                pause(&running, when, || peer.write(&welcome));
                take_batch(&mut peer, "native");
                peer.native_ack(1);
                assert_one_connection(&running.end());
            });
            scope.spawn(move || {
                let hub = FakeHub::new();
                let start = client().hub(hub.address).env("CLI_ANSWER_TIMEOUT", ANSWER_TIMEOUT);
                let running = start.env("CLI_MODE", "echo").env("CLI_LOOP_AMOUNT", "1").start();
                let mut peer = hub.accept();
                let line = peer.line();
                pause(&running, when, || peer.write(line.as_bytes()));
                let ended = running.end();
                assert_one_connection(&ended);
                assert_eq!(ended.said("receive_message").len(), 1, "{when:?}: {}", ended.log);
            });
        }
    });
}

#[test]
fn a_hub_that_is_silent_while_the_client_waits_counts_as_lost() {
    let hub = FakeHub::new();
    let running = bet(&hub, "binary").env("CLI_ANSWER_TIMEOUT", "50ms").start();
    let mut silent = hub.accept();
    take_batch(&mut silent, "binary");
    running.wait_for("reason: no answer | retry_in: 100ms");
    assert_eq!(silent.rest(), b"");
    running.signal("TERM");
    assert_eq!(running.end().code, Some(0));
}
