//! The load generator's frames: what they claim about themselves has to hold, or the bench measures nothing.

// The generator is a program of its own; its ring of frames, and what JetStream says to it, are compiled into this test as well.
#[path = "../benches/load/frames.rs"]
#[allow(dead_code)]
mod frames;
#[path = "../benches/load/jetstream.rs"]
#[allow(dead_code)]
mod jetstream;

use frames::{Protocol, Ring, put_bets};
use loteria::lottery::{AgencyId, Bet};
use loteria::wire::{Answer, Dialect};

const AGENCY: AgencyId = AgencyId(3);

fn bets() -> Vec<Bet> {
    let names = ["Ana", "Martín, \"Tincho\"", "O'Higgins", "Ñandú"];
    let bet = |index: usize| {
        let (document, number) = (format!("{}", 7_000_000 + index * 1_234_567), format!("{}", index * 11));
        let [name, document, number] = [names[index % names.len()].as_bytes(), document.as_bytes(), number.as_bytes()];
        Bet::from_text(name, b"Paz", document, b"1999-03-17", number).expect("valid")
    };
    (0..10).map(bet).collect()
}

fn frame(dialect: Dialect, sequence: u64, bets: &[Bet]) -> Vec<u8> {
    let (mut body, mut frame) = (Vec::new(), Vec::new());
    put_bets(dialect, AGENCY, bets, &mut body);
    dialect.put_batch(AGENCY, sequence, u32::try_from(bets.len()).expect("few bets"), &body, &mut frame);
    frame
}

#[test]
fn a_renumbered_native_frame_is_the_frame_encoded_with_that_number() {
    let bets = bets();
    let mut ring = Ring::new(Protocol::Hub(Dialect::Native), AGENCY, &bets, 4);
    assert_eq!(ring.len(), 2, "the last two of ten bets fill no batch of four");
    for sequence in [0, 1, 2, 255, 256, 0x1234_5678, (1 << 40) - 1, 7] {
        for (index, batch) in bets.chunks_exact(4).enumerate() {
            ring.number(index, sequence);
            let found = &ring.bytes()[ring.start(index)..ring.end(index)];
            assert_eq!(found, frame(Dialect::Native, sequence, batch), "frame {index} numbered {sequence}");
        }
    }
}

#[test]
fn sizes_are_counted_round_and_round() {
    let bets = bets();
    let ring = Ring::new(Protocol::Hub(Dialect::Binary), AGENCY, &bets, 3);
    let frames: Vec<_> = bets.chunks_exact(3).map(|batch| frame(Dialect::Binary, 0, batch).len() as u64).collect();
    assert_eq!(ring.size_of(0), (0, 0));
    assert_eq!(ring.size_of(3).0, frames.iter().sum::<u64>());
    assert_eq!(ring.size_of(8).0, 2 * frames.iter().sum::<u64>() + frames[0] + frames[1]);
    let (_, rows) = ring.size_of(1);
    let expected = "3,Ana,Paz,07000000,1999-03-17,0\r\n\
                    3,\"Martín, \"\"Tincho\"\"\",Paz,08234567,1999-03-17,11\r\n\
                    3,O'Higgins,Paz,09469134,1999-03-17,22\r\n";
    assert_eq!(rows, expected.len() as u64);
}

#[test]
fn redis_gets_the_same_rows_as_one_command() {
    let ring = Ring::new(Protocol::Redis, AGENCY, &bets()[..2], 2);
    let expected = "*4\r\n$5\r\nRPUSH\r\n$4\r\nbets\r\n\
                    $30\r\n3,Ana,Paz,7000000,1999-03-17,0\r\n\
                    $49\r\n3,\"Martín, \"\"Tincho\"\"\",Paz,8234567,1999-03-17,11\r\n";
    assert_eq!(String::from_utf8_lossy(ring.bytes()), expected);
}

#[test]
fn jetstream_gets_the_rows_of_the_store_as_one_message() {
    let ring = Ring::new(Protocol::JetStream, AGENCY, &bets()[..2], 2);
    let rows = "3,Ana,Paz,7000000,1999-03-17,0\r\n3,\"Martín, \"\"Tincho\"\"\",Paz,8234567,1999-03-17,11\r\n";
    let expected = format!("PUB bets.3 inbox.3 {}\r\n{rows}\r\n", rows.len());
    assert_eq!(String::from_utf8_lossy(ring.bytes()), expected);
    assert_eq!(ring.size_of(1), (expected.len() as u64, rows.len() as u64));
}

fn message(text: &str) -> Vec<u8> {
    format!("MSG inbox.3 1 {}\r\n{text}\r\n", text.len()).into_bytes()
}

#[test]
fn an_acknowledgement_of_jetstream_is_read_at_every_split() {
    let acknowledgement = message(r#"{"stream":"bets","seq":7}"#);
    let bytes = [b"INFO {}\r\nPING\r\n".as_slice(), &acknowledgement, b"PONG\r\n"].concat();
    let whole = bytes.len() - b"PONG\r\n".len();
    for split in 0..bytes.len() {
        let expected = (split >= whole).then_some((whole, Answer::Stored));
        assert_eq!(jetstream::read_answer(&bytes[..split]), Ok(expected), "the first {split} bytes");
    }
    assert_eq!(jetstream::read_answer(&bytes[whole..]), Ok(Some((6, Answer::Welcome { next: 0 }))));
}

#[test]
fn what_jetstream_has_not_stored_ends_the_load() {
    let error =
        r#"{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"},"stream":"bets","seq":9}"#;
    let refused = [
        message(error),
        message(r#"{"stream":"bets","seq":0}"#),
        message(r#"{"stream":"bets"}"#),
        message(r#"{"stream":"other","seq":7}"#),
        message(r#"{"stream":"bets","seq":7,"duplicate":true}"#),
        message("+OK"),
        b"HMSG inbox.3 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n".to_vec(),
        b"-ERR 'Unknown Protocol Operation'\r\n".to_vec(),
        b"MSG inbox.3 1 many\r\n".to_vec(),
    ];
    for bytes in refused {
        let text = String::from_utf8_lossy(&bytes);
        assert!(jetstream::read_answer(&bytes).is_err(), "{text}");
    }
    let why = jetstream::read_answer(&message(error)).expect_err("it is not stored");
    assert!(why.contains("maximum messages exceeded"), "{why}");
}
