//! Every dialect's client side through its server side, and the replies back, on bets of every kind.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

use loteria::lottery::{AgencyId, Bet, BetSource};
use loteria::wire::{After, Answer, Context, Dialect, Expecting, Framing, Reply, Request, Speaker};
use proptest::prelude::*;

const AGENCY: AgencyId = AgencyId(7);

/// The dialects that bets are sent in.
fn dialects() -> impl Iterator<Item = Dialect> {
    Dialect::ALL.iter().copied().filter(|dialect| *dialect != Dialect::Echo)
}

/// Names of letters, of every separator and escape that a dialect has, and of what dialects take for keys.
fn name() -> impl Strategy<Value = String> {
    let plain = prop::sample::select(&["Ana", "José", "Peña", "O'Higgins", "Ñ", "李", " ", "x", "7574"][..]);
    let special = prop::sample::select(&["|", "\\", ":", ",", "\"", ";", "=", "'"][..]);
    let keys = prop::sample::select(&["APELLIDO:", "|NOMBRE:", ":AGENCY_ID:3", "GET_WINNERS", "BET_2:"][..]);
    let part = prop_oneof![6 => plain, 3 => special, 1 => keys];
    prop_oneof![
        9 => prop::collection::vec(part, 1..8).prop_map(|parts| parts.concat()),
        1 => Just("ñ".repeat(127)),
        1 => Just("x".repeat(255)),
    ]
}

fn bet() -> impl Strategy<Value = Bet> {
    let document = prop_oneof!["[0-9]{8}", "[0-9]{1,9}", Just("4294967295".to_owned()), Just("0".to_owned())];
    let date = (1900..=9999u32, 1..=12u32, 1..=28u32).prop_map(|(y, m, d)| format!("{y:04}-{m:02}-{d:02}"));
    let number = prop_oneof![Just(0), Just(7574), 0..=9999u32, any::<u32>()];
    (name(), name(), document, date, number).prop_filter_map(
        "a bet that breaks no rule",
        |(first, last, document, date, number)| {
            let number = number.to_string();
            let texts = [first, last, document, date, number];
            let [first, last, document, date, number] = texts.each_ref().map(|text| text.as_bytes());
            Bet::from_text(first, last, document, date, number).ok()
        },
    )
}

/// The bet as its dialect gives it back: `binary` writes documents with eight digits or more.
fn as_read(dialect: Dialect, bet: &Bet) -> Bet {
    if dialect != Dialect::Binary {
        return bet.clone();
    }
    let document = format!("{:08}", bet.document_number());
    let mut raw = bet.as_raw();
    raw.document = document.as_bytes().into();
    Bet::check(&raw).unwrap()
}

fn frame_of(dialect: Dialect, bets: &[Bet]) -> Vec<u8> {
    let mut body = Vec::new();
    for (index, bet) in (0..).zip(bets) {
        dialect.put_bet(AGENCY, index, &bet.as_raw(), &mut body);
    }
    let mut frame = Vec::new();
    let count = u32::try_from(bets.len()).unwrap();
    dialect.put_batch(AGENCY, 5, count, &body, &mut frame);
    assert!(frame.len() <= body.len() + dialect.client_rules().batch_overhead_bytes, "{}", dialect.name());
    frame
}

fn context(opening: bool) -> Context {
    Context { frame_bytes_max: 1 << 20, opening, scanned: 0 }
}

/// The bets that the hub reads from a frame; `None` where it reads anything else.
fn read(dialect: Dialect, frame: &[u8]) -> Option<Vec<Bet>> {
    assert_eq!(dialect.frame(frame, &context(false)), Framing::Complete { bytes: frame.len() });
    let Ok(Request::Batch(batch)) = dialect.decode(frame, &context(false)) else { return None };
    let whose = [Speaker::Named(AGENCY), Speaker::Connection];
    assert!(whose.contains(&batch.agency), "{}: {:?}", dialect.name(), batch.agency);
    let mut list = Vec::new();
    let count = batch.bets.feed(&mut list).ok()?;
    assert_eq!((count, list.len()), (batch.bets.count(), batch.bets.count() as usize), "{}", dialect.name());
    list.into_iter().map(Result::ok).collect()
}

proptest! {
    #[test]
    fn a_batch_reads_back_in_every_dialect_that_carries_its_bets(bets in prop::collection::vec(bet(), 1..12)) {
        for dialect in dialects() {
            let bets: Vec<_> = bets.iter().filter(|bet| dialect.carries(&bet.as_raw()).is_ok()).cloned().collect();
            if bets.is_empty() {
                continue;
            }
            let expected: Vec<_> = bets.iter().map(|bet| as_read(dialect, bet)).collect();
            prop_assert_eq!(read(dialect, &frame_of(dialect, &bets)), Some(expected), "{}", dialect.name());
        }
    }

    #[test]
    fn a_dialect_carries_exactly_the_bets_that_read_back(bet in bet()) {
        for dialect in dialects() {
            let same = read(dialect, &frame_of(dialect, std::slice::from_ref(&bet))) == Some(vec![as_read(dialect, &bet)]);
            let carries = dialect.carries(&bet.as_raw());
            prop_assert_eq!(carries.is_ok(), same, "{}: {:?}", dialect.name(), carries);
        }
    }

    #[test]
    fn winners_read_back_in_every_dialect(bets in prop::collection::vec(bet(), 0..12)) {
        for dialect in dialects() {
            let mut bytes = Vec::new();
            let after = dialect.encode(&Reply::Winners { agency: AGENCY, bets: &bets }, &mut bytes);
            let documents: Vec<_> = bets.iter().map(|bet| as_read(dialect, bet).document().to_owned()).collect();
            let Ok(Some((used, Answer::Winners { documents: read, bets: whole }))) =
                dialect.read_answer(&bytes, Expecting::Winners)
            else {
                panic!("{}: no winners", dialect.name());
            };
            prop_assert_eq!((used, read), (bytes.len(), documents), "{}", dialect.name());
            let carries_whole = [Dialect::Native, Dialect::Text].contains(&dialect);
            let is_changed = bets.iter().any(|bet| dialect.carries(&bet.as_raw()).is_err());
            prop_assert!(is_changed || whole == carries_whole.then(|| bets.clone()), "{}: {whole:?}", dialect.name());
            prop_assert_ne!(after, After::CloseUnrepresentable, "{}", dialect.name());
        }
    }

    #[test]
    fn an_agency_reads_back_from_whatever_names_it(id in any::<u32>()) {
        let agency = AgencyId(id);
        let named = |speaker| [Speaker::Named(agency), Speaker::Connection].contains(&speaker);
        for dialect in dialects() {
            let mut bytes = Vec::new();
            if dialect.client_rules().hello {
                dialect.put_hello(agency, &mut bytes);
                let hello = dialect.decode(&bytes, &context(true));
                prop_assert!(matches!(hello, Ok(Request::Hello(who)) if who == agency), "{}", dialect.name());
            }
            if dialect.client_rules().finish {
                bytes.clear();
                dialect.put_finish(agency, &mut bytes);
                let finish = dialect.decode(&bytes, &context(false));
                prop_assert!(matches!(finish, Ok(Request::Finish(who)) if named(who)), "{}", dialect.name());
            }
            bytes.clear();
            dialect.put_query(agency, &mut bytes);
            let asked = match (dialect.decode(&bytes, &context(false)), dialect.client_rules().finish) {
                (Ok(Request::Query(who)), true) | (Ok(Request::FinishAndQuery(who)), false) => named(who),
                _ => false,
            };
            prop_assert!(asked, "{}", dialect.name());
        }
    }
}

#[test]
fn what_each_dialect_cannot_carry() {
    let bet =
        |first: &str, last: &str| Bet::from_text(first.as_bytes(), last.as_bytes(), b"1", b"1999-03-17", b"1").unwrap();
    for (bet, not) in [
        (bet("Ana", "Paz"), &[][..]),
        (bet("Ana|Maria", "Paz"), &[Dialect::Text]),
        (bet("Ana", "Paz|"), &[Dialect::Text]),
        (bet("GET_WINNERS", "Paz"), &[Dialect::Text]),
        (bet("GET_WINNERSX", "Paz"), &[Dialect::Text]),
        (bet("Ana", "GET_WINNERS"), &[]),
        (bet("Ana, Maria", "Paz"), &[Dialect::Csv]),
        (bet("Ana", " Paz"), &[Dialect::Text, Dialect::Csv]),
        (bet("Ana ", "Paz"), &[Dialect::Text, Dialect::Csv]),
        (bet("Ana\\:\"", "APELLIDO:;'"), &[]),
    ] {
        let cannot: Vec<_> = dialects().filter(|dialect| dialect.carries(&bet.as_raw()).is_err()).collect();
        assert_eq!(cannot, not, "{bet:?}");
    }
}
