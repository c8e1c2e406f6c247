//! The text dialects' readers against slow, obvious twins, on messages that are right but for a few edits.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

use loteria::lottery::{AgencyId, BetSink, BetSource, RawBet};
use loteria::wire::{Context, Dialect, Request, Speaker};
use proptest::prelude::*;

const CONTEXT: Context = Context { frame_bytes_max: 1 << 20, opening: false, scanned: 0 };

/// First name, last name, document, birthdate, number: as texts, a date as the number that it spells or 0.
type Row = (String, String, String, u32, Option<u32>);

#[derive(Debug, Default, PartialEq)]
struct Rows(Vec<Row>);

impl BetSink for Rows {
    fn put(&mut self, bet: &RawBet<'_>) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let [first, last, document] = [bet.first_name, bet.last_name, bet.document].map(|field| text(field.bytes()));
        self.0.push((first, last, document, bet.birthdate, bet.number));
    }
}

/// What a batch says: whose it is and its bets; `None` for anything that is not to be stored.
type Said = Option<(Option<AgencyId>, Vec<Row>)>;

fn said(dialect: Dialect, frame: &[u8]) -> Said {
    let Ok(Request::Batch(batch)) = dialect.decode(frame, &CONTEXT) else { return None };
    let mut rows = Rows::default();
    let count = batch.bets.feed(&mut rows).ok()?;
    assert_eq!(count as usize, rows.0.len());
    let agency = match batch.agency {
        Speaker::Named(agency) => Some(agency),
        Speaker::Connection => None,
    };
    Some((agency, rows.0))
}

fn number(text: &str) -> Option<u32> {
    let digits = (1..=10).contains(&text.len()) && text.chars().all(|character| character.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn agency(text: &str) -> Option<AgencyId> {
    let digits = !text.is_empty() && text.chars().all(|character| character.is_ascii_digit());
    digits.then(|| AgencyId(number(text).unwrap_or(0)))
}

fn row(fields: &[&str]) -> Row {
    let shape = fields[3].split('-').collect::<Vec<_>>();
    let right = shape.iter().map(|part| part.len()).eq([4, 2, 2]);
    let date = number(&shape.concat()).filter(|_| right).unwrap_or(0);
    (fields[0].to_owned(), fields[1].to_owned(), fields[2].to_owned(), date, number(fields[4]))
}

/// All bets of one agency, or nothing.
fn of_one(bets: Vec<(AgencyId, Row)>) -> Said {
    let first = bets.first()?.0;
    let all = bets.iter().all(|(agency, _)| *agency == first);
    all.then(|| (Some(first), bets.into_iter().map(|(_, row)| row).collect()))
}

/// What is dropped around a field.
const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

fn text_twin(message: &str) -> Said {
    let lines = message.trim_matches(SPACES);
    if lines.starts_with("GET_WINNERS") {
        return None;
    }
    let bets = lines.split('\n').map(|line| {
        let fields: Vec<_> = line.split('|').map(|field| field.trim_matches(SPACES)).collect();
        (fields.len() == 6).then(|| agency(fields[5]).map(|agency| (agency, row(&fields)))).flatten()
    });
    of_one(bets.collect::<Option<_>>()?)
}

fn csv_twin(text: &str) -> Said {
    let mut fields: Vec<_> = text.split(',').map(|field| field.trim_matches(SPACES)).collect();
    // What follows the last comma is a field only where there is something, or one is missing there.
    if fields.len() % 5 == 1 && fields.last() == Some(&"") {
        fields.pop();
    }
    (fields.len() % 5 == 0).then(|| (None, fields.chunks(5).map(row).collect()))
}

/// Splits at unescaped `|`, and keeps the escapes.
fn pairs(message: &str) -> Vec<String> {
    let mut pairs = vec![String::new()];
    let mut characters = message.chars();
    while let Some(character) = characters.next() {
        if character == '|' {
            pairs.push(String::new());
            continue;
        }
        let pair = pairs.last_mut().unwrap();
        pair.push(character);
        if character == '\\' {
            pair.extend(characters.next());
        }
    }
    pairs
}

/// Each character of a text without its escapes, and whether it was escaped.
fn unescaped(text: &str) -> Option<Vec<(char, bool)>> {
    let mut list = Vec::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        list.push(if character == '\\' { (characters.next()?, true) } else { (character, false) });
    }
    Some(list)
}

const KEYS: [&str; 6] = ["NOMBRE", "APELLIDO", "DOCUMENTO", "NACIMIENTO", "NUMERO", "AGENCY_ID"];

/// The six values of a bet.
fn bet_twin(value: &str) -> Option<(AgencyId, Row)> {
    let inner: String = unescaped(value)?.into_iter().map(|(character, _)| character).collect();
    let characters = unescaped(&inner)?;
    let key_at = |at: usize| {
        KEYS.iter().position(|key| {
            let expected = key.chars().chain([':']).map(|character| (character, false));
            characters.iter().skip(at).take(key.len() + 1).copied().eq(expected)
        })
    };
    let mut values: [Option<String>; 6] = Default::default();
    let mut key = key_at(0)?;
    let mut at = KEYS[key].len() + 1;
    let mut value = String::new();
    loop {
        let next = match characters.get(at) {
            Some(('|' | ':', false)) => key_at(at + 1).map(Some),
            Some(_) => None,
            None => Some(None),
        };
        if let Some(next) = next {
            if values[key].replace(std::mem::take(&mut value)).is_some() {
                return None;
            }
            let Some(next) = next else { break };
            key = next;
            at += KEYS[key].len() + 2;
        } else {
            value.push(characters[at].0);
            at += 1;
        }
    }
    let values: Vec<_> = values.iter().map(Option::as_deref).collect::<Option<_>>()?;
    Some((agency(values[5])?, row(&values)))
}

fn key_value_twin(payload: &str) -> Said {
    let (mut sizes, mut numbers, mut bets) = (Vec::new(), Vec::new(), Vec::new());
    for pair in pairs(payload.trim_end_matches(SPACES)) {
        let (key, value) = pair.split_once(':')?;
        if key == "ACTION" || key.contains('\\') {
            return None;
        }
        if key == "BATCH_SIZE" {
            sizes.push(number(value)?);
        }
        if let Some(place) = key.strip_prefix("BET_") {
            numbers.push(number(place).filter(|place| *place > 0 && *place as usize <= payload.len())?);
            bets.push(bet_twin(value)?);
        }
    }
    let once = numbers.iter().collect::<std::collections::BTreeSet<_>>().len() == numbers.len();
    let complete = sizes.len() == 1 && sizes[0] as usize == bets.len();
    if once && complete { of_one(bets) } else { None }
}

/// A right message as the pieces that edits move, take away or add.
fn edited(right: fn(usize) -> Vec<&'static str>, extra: &'static [&'static str]) -> impl Strategy<Value = String> {
    let edit = (any::<prop::sample::Index>(), 0..3, prop::sample::select(extra));
    (1..5usize, prop::collection::vec(edit, 0..4)).prop_map(move |(bets, edits)| {
        let mut pieces = right(bets);
        for (at, kind, piece) in edits {
            let at = at.index(pieces.len());
            match kind {
                0 => pieces.insert(at, piece),
                1 => pieces[at] = piece,
                _ if pieces.len() > 1 => drop(pieces.remove(at)),
                _ => {}
            }
        }
        pieces.concat()
    })
}

fn text_message(bets: usize) -> Vec<&'static str> {
    let line = ["Ana", "|", " Paz", "|", "30904465 ", "|", "1999-03-17", "|", "7574", "|", "3", "\n"];
    let windows = ["Ana ", "|", "Paz", "|", "30904465", "|", " 1999-03-17", "|", "7574\t", "|", " 3", "\r\n"];
    (0..bets).flat_map(|bet| if bet % 2 == 0 { line } else { windows }).collect()
}

fn csv_text(bets: usize) -> Vec<&'static str> {
    let bet = ["Ana", ",", " Paz", ",", "30904465 ", ",", "1999-03-17", ",", "7574", ","];
    let line = ["\r\nAna", ",", "Paz", ",", "30904465", ",", " 1999-03-17", ",", "7574\t", ",\n"];
    (0..bets).flat_map(|index| if index % 2 == 0 { bet } else { line }).collect()
}

fn key_value_payload(bets: usize) -> Vec<&'static str> {
    let sizes = ["0", "1", "2", "3", "4"];
    let names = ["|BET_1:", "|BET_2:", "|BET_3:", "|BET_4:"];
    let mut pieces = vec!["BATCH_SIZE:", sizes[bets]];
    for name in &names[..bets] {
        pieces.extend([*name, "NOMBRE:", "Ana", r"\|", "APELLIDO:", "Paz", r"\|", "DOCUMENTO:", "30904465", r"\|"]);
        pieces.extend(["NACIMIENTO:", "1999-03-17", r"\|", "NUMERO:", "7574", r"\|", "AGENCY_ID:", "3"]);
    }
    pieces.push([" \n", "\n", "", "\r\n", "\n"][bets]);
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn text_reads_as_its_twin(
        message in edited(text_message, &["|", "\n", "", "3", "03", "4", "99999999999", "x", "ñ", "GET_WINNERS", "GET_WINNERS|",
            " ", "\r", "\r\n", "\t", " | "]),
    ) {
        let frame = format!("{}\n{message}", message.len());
        prop_assert_eq!(said(Dialect::Text, frame.as_bytes()), text_twin(&message), "{}", message);
    }

    #[test]
    fn csv_reads_as_its_twin(text in edited(csv_text, &[",", " ", "  ", "", "ñ", "\n", " , ", "\r\n", ",\n"])) {
        let mut frame = vec![1];
        frame.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
        frame.extend(text.bytes());
        prop_assert_eq!(said(Dialect::Csv, &frame), csv_twin(&text), "{}", text);
    }

    #[test]
    fn key_value_reads_as_its_twin(
        payload in edited(
            key_value_payload,
            &["|", r"\|", ":", r"\:", r"\\:", r"\\", r"\\\|", "\\", "NOMBRE:", r"\|APELLIDO:", ":NUMERO:", "NOTE:x|", "4",
              "|BET_1:", "|BET_7:", "|BATCH_SIZE:", "2", "ACTION:", "ñ", "\n", " ", "\r\n", ""],
        ),
    ) {
        let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
        frame.extend(payload.bytes());
        prop_assert_eq!(said(Dialect::KeyValue, &frame), key_value_twin(&payload), "{}", payload);
    }
}

#[test]
fn the_twins_read_what_is_right() {
    let rows = vec![("Ana".to_owned(), "Paz".to_owned(), "30904465".to_owned(), 19_990_317, Some(7574)); 2];
    assert_eq!(text_twin(&text_message(2).concat()), Some((Some(AgencyId(3)), rows.clone())));
    assert_eq!(csv_twin(&csv_text(2).concat()), Some((None, rows.clone())));
    assert_eq!(key_value_twin(&key_value_payload(2).concat()), Some((Some(AgencyId(3)), rows)));
}
