//! The `key-value` dialect on messages written by hand.

use super::*;
use crate::lottery::Bet;

const BET_1: &str =
    r"BET_1:NOMBRE:Ana\|APELLIDO:Paz\|DOCUMENTO:30904465\|NACIMIENTO:1999-03-17\|NUMERO:7574\|AGENCY_ID:3";

fn context() -> Context {
    Context { frame_bytes_max: 10_000, opening: false, scanned: 0 }
}

/// The bets of a message, or their error.
fn bets(message: &str) -> Result<Vec<Bet>, BatchError> {
    let mut frame = u32::try_from(message.len()).unwrap().to_be_bytes().to_vec();
    frame.extend(message.bytes());
    assert_eq!(super::frame(&frame, &context()), Framing::Complete { bytes: frame.len() });
    let request = decode(&frame, &context()).unwrap();
    if let Request::BadBatch { error, .. } = request {
        return Err(error);
    }
    let Request::Batch(batch) = request else { panic!("{message:?} is no batch: {request:?}") };
    assert_eq!(batch.agency, Speaker::Named(AgencyId(3)));
    let mut list = Vec::new();
    batch.bets.feed(&mut list)?;
    Ok(list.into_iter().map(Result::unwrap).collect())
}

/// The names of the one bet of a message whose bet is `pairs`, as they are on the wire.
fn names(pairs: &str) -> Result<(String, String), BatchError> {
    let bets = bets(&format!("BATCH_SIZE:1|BET_1:{pairs}\n"))?;
    assert_eq!(bets[0].document(), "30904465");
    Ok((bets[0].first_name().to_owned(), bets[0].last_name().to_owned()))
}

fn request(message: &[u8]) -> Request<()> {
    let mut frame = u32::try_from(message.len()).unwrap().to_be_bytes().to_vec();
    frame.extend(message);
    decode(&frame, &context()).unwrap().map(|_| ())
}

#[test]
fn both_documented_forms_of_a_bet_and_every_escape() {
    let rest = r"\|DOCUMENTO:30904465\|NACIMIENTO:1999-03-17\|NUMERO:7574\|AGENCY_ID:3";
    for (pairs, first, last) in [
        (r"NOMBRE:Ana\|APELLIDO:Paz", "Ana", "Paz"),
        // Joined by ':', and a '|' without a key after it.
        (r"NOMBRE:Ana\|Maria:APELLIDO:Paz", "Ana|Maria", "Paz"),
        (r"NOMBRE:Ana:Maria:APELLIDO:Paz", "Ana:Maria", "Paz"),
        // Escaped on both levels.
        (r"NOMBRE:Ana\\\|Maria\|APELLIDO:Paz", "Ana|Maria", "Paz"),
        (r"NOMBRE:Ana\\\\Maria\|APELLIDO:Paz", r"Ana\Maria", "Paz"),
        (r"NOMBRE:Ana\\:APELLIDO\\:x\|APELLIDO:Paz", "Ana:APELLIDO:x", "Paz"),
        // In another order, and with the colon escaped too.
        (r"APELLIDO:Paz\|NOMBRE:Ana", "Ana", "Paz"),
        (r"NOMBRE\:Ana\|APELLIDO\:Paz", "Ana", "Paz"),
        (r"NOMBRE:A\na\|APELLIDO:\Paz", "Ana", "Paz"),
    ] {
        assert_eq!(names(&format!("{pairs}{rest}")), Ok((first.to_owned(), last.to_owned())), "{pairs}");
    }
    let colons = "NOMBRE:Ana:APELLIDO:Paz:DOCUMENTO:30904465:NACIMIENTO:1999-03-17:NUMERO:7574:AGENCY_ID:3";
    assert_eq!(names(colons), Ok(("Ana".to_owned(), "Paz".to_owned())));
}

#[test]
fn a_bet_without_each_key_once_is_bad() {
    let bad = Err(BatchError::BadBet { index: 1, error: BetError::Fields });
    for second in [
        "",
        "x",
        "BET_2",
        "BET_2:",
        r"BET_2:NOMBRE:Ana\|APELLIDO:Paz",
        r"BET_2:NOMBRE:a:NOMBRE:b\|APELLIDO:Paz\|DOCUMENTO:1\|NACIMIENTO:1999-03-17\|NUMERO:7574\|AGENCY_ID:3",
        r"BET_2:NOMBRE:a\|APELLIDO:Paz\|DOCUMENTO:1\|NACIMIENTO:1999-03-17\|NUMERO:7574\|AGENCY_ID:3\",
        r"BET_2:NOMBRE:a\|APELLIDO:Paz\|DOCUMENTO:1\|NACIMIENTO:1999-03-17\|NUMERO:7574\|AGENCY_ID:3\\",
        "BATCH_SIZE:2",
        "ACTION:FINISH_BETTING",
        r"\:NOTE",
        &BET_1.replace("BET_1", "BET_0"),
        &BET_1.replace("BET_1", "BET_x"),
        &BET_1.replace("BET_1", "BET_4000000000"),
        BET_1,
    ] {
        assert_eq!(bets(&format!("BATCH_SIZE:2|{BET_1}|{second}\n")), bad, "{second}");
    }
    for (agency, error) in [("4", BetError::MixedAgencies), ("x", BetError::Agency), ("", BetError::Agency)] {
        let second = BET_1.replace("BET_1", "BET_2").replace("AGENCY_ID:3", &format!("AGENCY_ID:{agency}"));
        let error = Err(BatchError::BadBet { index: 1, error });
        assert_eq!(bets(&format!("BATCH_SIZE:2|{BET_1}|{second}\n")), error, "{agency}");
    }
    let first = BET_1.replace("AGENCY_ID:3", "AGENCY_ID:x");
    let error = Err(BatchError::BadBet { index: 0, error: BetError::Agency });
    assert_eq!(bets(&format!("BATCH_SIZE:1|{first}\n")), error);
}

#[test]
fn pairs_come_in_any_order_and_bets_with_any_of_their_numbers_once() {
    let bet = |number: &str| BET_1.replace("BET_1", &format!("BET_{number}"));
    let four = [bet("3"), bet("1"), bet("4"), bet("02")].join("|");
    for message in [format!("BATCH_SIZE:4|{four}\n"), format!("{four}|NOTE:x|BATCH_SIZE:4\n")] {
        assert_eq!(bets(&message).map(|bets| bets.len()), Ok(4), "{message}");
    }
    let error = BatchError::BadBet { index: 3, error: BetError::Fields };
    let twice = [bet("1"), bet("3"), bet("2"), bet("1")].join("|");
    assert_eq!(bets(&format!("BATCH_SIZE:4|{twice}\n")), Err(error));
}

#[test]
fn a_size_that_differs_from_the_bets_is_an_error() {
    for (declared, present) in [(0, 1), (2, 1), (u32::MAX, 1)] {
        let expected = Err(BatchError::Count { declared, present });
        assert_eq!(bets(&format!("BATCH_SIZE:{declared}|{BET_1}\n")), expected);
    }
    assert_eq!(bets("BATCH_SIZE:3\n"), Err(BatchError::Count { declared: 3, present: 0 }));
    assert!(matches!(request(b"BATCH_SIZE:0\n"), Request::EmptyBatch));
}

#[test]
fn the_end_of_a_payload_may_have_spaces_and_may_lack_its_line_feed() {
    let plain = bets(&format!("BATCH_SIZE:1|{BET_1}\n")).unwrap();
    for end in ["", " \n", "  \n", " ", "\r\n", "\n\n", "\t\n"] {
        assert_eq!(bets(&format!("BATCH_SIZE:1|{BET_1}{end}")), Ok(plain.clone()), "{end:?}");
        assert_eq!(bets(&format!("{BET_1}|BATCH_SIZE:1{end}")), Ok(plain.clone()), "{end:?}");
    }
    let error = BatchError::BadBet { index: 0, error: BetError::Fields };
    assert_eq!(bets(&format!("BATCH_SIZE:1|{BET_1}\\ \n")), Err(error), "an escape of nothing");
}

#[test]
fn a_batch_is_counted_by_the_bets_that_it_has() {
    let two = format!("{BET_1}|{}", BET_1.replace("BET_1", "BET_2"));
    for (message, expected) in [
        ("BATCH_SIZE:4000000000\n".to_owned(), 0),
        (format!("BATCH_SIZE:4000000000|{two}\n"), 2),
        ("BATCH_SIZE:4000000000|BET_1:x|BET_2:y\n".to_owned(), 2),
    ] {
        let mut frame = u32::try_from(message.len()).unwrap().to_be_bytes().to_vec();
        frame.extend(message.bytes());
        let request = decode(&frame, &context()).unwrap();
        let count = if let Request::BadBatch { count, .. } = request { Some(count) } else { None };
        let batch = if let Request::Batch(batch) = request { Some(batch.bets.count()) } else { None };
        assert_eq!(count.or(batch), Some(expected), "{message:?}");
    }
}

#[test]
fn the_finish_in_both_spellings_and_either_order() {
    for message in [
        "ACTION:FINISH_BETTING|AGENCY_ID:3\n",
        "ACTION:BETTING_FINISHED|AGENCY_ID:3\n",
        "AGENCY_ID:03|ACTION:FINISH_BETTING|NOTE:x\n",
        "ACTION:FINISH_BETTING|AGENCY_ID:3",
        "ACTION:FINISH_BETTING|AGENCY_ID:3 \n",
        "AGENCY_ID:3|ACTION:FINISH_BETTING \r\n",
    ] {
        let request = request(message.as_bytes());
        assert!(matches!(request, Request::FinishAndQuery(Speaker::Named(AgencyId(3)))), "{message}: {request:?}");
    }
}

#[test]
fn messages_without_a_valid_request_are_refused() {
    for message in [
        "",
        "\n",
        "hello\n",
        "A:B\n",
        "\\:x|ACTION:FINISH_BETTING|AGENCY_ID:3\n",
        "ACTION:FINISH_BETTING\\\n",
        "AGENCY_ID:3|ACTION:FINISH_BETTING\\ \n",
        "AGENCY_ID:3|ACTION:FINISH_BETTING|\n",
        "ACTION:FINISH_BETTING |AGENCY_ID:3\n",
        "ACTION:FINISH_BETTING|AGENCY_ID: 3\n",
        "ACTION:DANCE|AGENCY_ID:3\n",
        "ACTION:FINISH_BETTING\n",
        "ACTION:FINISH_BETTING|AGENCY_ID:x\n",
        "ACTION:FINISH_BETTING|BATCH_SIZE:0\n",
        "BATCH_SIZE:-1\n",
        &format!("{BET_1}\n"),
    ] {
        let request = request(message.as_bytes());
        assert!(matches!(request, Request::Refused(_)), "{message:?}: {request:?}");
    }
}
