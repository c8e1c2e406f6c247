//! The `text` dialect on messages written by hand.

use super::*;

fn context() -> Context {
    Context { frame_bytes_max: 1000, opening: false, scanned: 0 }
}

fn request(message: &str) -> Request<Vec<Result<Bet, BetError>>> {
    let frame = format!("{}\n{message}", message.len()).into_bytes();
    assert_eq!(super::frame(&frame, &context()), Framing::Complete { bytes: frame.len() });
    decode(&frame, &context()).unwrap().map(|bets| {
        let mut list = Vec::new();
        assert_eq!(bets.feed(&mut list), Ok(u32::try_from(list.len()).unwrap()));
        list
    })
}

fn fed(message: &str) -> Result<u32, BatchError> {
    let frame = format!("{}\n{message}", message.len()).into_bytes();
    let request = decode(&frame, &context()).unwrap();
    if let Request::BadBatch { error, .. } = request {
        return Err(error);
    }
    let Request::Batch(batch) = request else { panic!("{message} is no batch") };
    batch.bets.feed(&mut Vec::new())
}

#[test]
fn a_length_is_one_to_nine_digits() {
    for (bytes, expected) in [
        ("", Framing::Incomplete { need: 1 }),
        ("3", Framing::Incomplete { need: 2 }),
        ("3\n", Framing::Incomplete { need: 5 }),
        ("3\nACKx", Framing::Complete { bytes: 5 }),
        ("000000003\nACK", Framing::Complete { bytes: 13 }),
        ("0\n", Framing::Complete { bytes: 2 }),
        ("998\n", Framing::Malformed(Malformed("frame over the limit"))),
        ("996\n", Framing::Incomplete { need: 1000 }),
        ("123456789", Framing::Incomplete { need: 10 }),
    ] {
        assert_eq!(frame(bytes.as_bytes(), &context()), expected, "{bytes:?}");
    }
    for bytes in ["\n", "x", "-1\n", "1 \n", "3\r\n", "0000000003", "1234567890\n"] {
        assert!(matches!(frame(bytes.as_bytes(), &context()), Framing::Malformed(_)), "{bytes:?}");
    }
}

#[test]
fn queries_and_what_only_looks_like_one() {
    for (message, agency) in [
        ("GET_WINNERS|3", 3),
        ("GET_WINNERS|03\n", 3),
        ("GET_WINNERS|99999999999", 0),
        ("GET_WINNERS|3\r\n", 3),
        (" GET_WINNERS | 3 \n\n", 3),
    ] {
        let expected = Speaker::Named(AgencyId(agency));
        assert!(matches!(request(message), Request::FinishAndQuery(speaker) if speaker == expected), "{message}");
    }
    for message in [
        "GET_WINNERS",
        "GET_WINNERS|",
        "GET_WINNERS| ",
        "GET_WINNERS|x",
        "GET_WINNERS|1|2",
        "GET_WINNERS|1 2",
        "GET_WINNERS|1\n2",
        "GET_WINNERS1",
        "GET_WINNERS 1",
        "GET_WINNERSX|b|1|1999-03-17|5|3",
    ] {
        assert!(matches!(request(message), Request::Refused(_)), "{message}");
    }
    assert!(matches!(request("GET_WINNER|b|1|1999-03-17|5|3"), Request::Batch(_)));
}

#[test]
fn invalid_batches_are_rejected_with_their_error() {
    let bad = |index, error| Err(BatchError::BadBet { index, error });
    for (message, expected) in [
        ("", Err(BatchError::Empty)),
        ("\n", Err(BatchError::Empty)),
        (" \r\n\r\n", Err(BatchError::Empty)),
        ("a|b|1|1999-03-17|5|3", Ok(1)),
        ("a|b|1|1999-03-17|5|3\n", Ok(1)),
        ("a|b|1|1999-03-17|5|3\na|b|1|1999-03-17|5|03", Ok(2)),
        ("a|b|1|1999-03-17|5|3\n\n", Ok(1)),
        ("a|b|1|1999-03-17|5|3\n\na|b|1|1999-03-17|5|3", bad(1, BetError::Fields)),
        ("a|b|1|1999-03-17|5|3 3", bad(0, BetError::Agency)),
        ("a|b|1|1999-03-17|5|3\ra|b|1|1999-03-17|5|3", bad(0, BetError::Fields)),
        ("a|b|1|1999-03-17|5|x", bad(0, BetError::Agency)),
        ("a|b|1|1999-03-17|5", bad(0, BetError::Fields)),
        ("a|b|1|1999-03-17|5|3|", bad(0, BetError::Fields)),
        ("a|b|1|1999-03-17|5|3\na|b|1|1999-03-17|5|3|7", bad(1, BetError::Fields)),
        ("a|b|1|1999-03-17|5|3\na|b|1|1999-03-17|5|4", bad(1, BetError::MixedAgencies)),
        ("a|b|1|1999-03-17|5|3\na|b|1|1999-03-17|5|", bad(1, BetError::Agency)),
    ] {
        assert_eq!(fed(message), expected, "{message:?}");
    }
}

#[test]
fn white_space_around_fields_and_lines_is_dropped() {
    let plain = "Ana Paula|Paz|30904465|1999-03-17|7574|3\nZoe|Gil|1234567|2004-02-29|2201|3";
    let Request::Batch(plain) = request(plain) else { panic!("no batch") };
    for message in [
        "Ana Paula|Paz|30904465|1999-03-17|7574|3\r\nZoe|Gil|1234567|2004-02-29|2201|3\r\n",
        " Ana Paula | Paz |\t30904465| 1999-03-17 |7574 | 3 \n Zoe|Gil | 1234567 |2004-02-29|2201|\t3",
        "\r\nAna Paula|Paz|30904465|1999-03-17|7574|3 \r\nZoe|Gil|1234567|2004-02-29 |2201|3 \r\n\r\n",
    ] {
        let Request::Batch(batch) = request(message) else { panic!("{message:?} is no batch") };
        assert_eq!((batch.agency, batch.bets), (plain.agency, plain.bets.clone()), "{message:?}");
    }
}

#[test]
fn a_rejected_batch_is_counted_by_its_lines() {
    for (message, expected) in [("x\ny\nz", 3), ("x", 1), ("x\n", 1), ("x\n\n \r\ny", 2), ("", 0)] {
        assert!(matches!(request(message), Request::BadBatch { count, .. } if count == expected), "{message:?}");
    }
}

#[test]
fn a_separator_in_a_winner_of_another_dialect_moves_no_field() {
    let bet = Bet::from_text(b"Ana|Maria", b"Paz", b"30904465", b"1999-03-17", b"7574").unwrap();
    let mut out = Vec::new();
    encode(&Reply::Winners { agency: AgencyId(3), bets: &[bet] }, &mut out);
    assert_eq!(out, b"40\nAna.Maria|Paz|30904465|1999-03-17|7574|3");
}
