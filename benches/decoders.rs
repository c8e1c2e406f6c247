//! What a batch costs before it is written: its frame found, its bets decoded, its rows encoded.
//!
//! Per dialect, a batch of 150 bets: `decode` into a sink that only looks at lengths, which is the decoder
//! alone, and `rows` into the rows of a turn, as the hub does; `rows-slowly` is the encoder's obvious twin.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use loteria::lottery::{AgencyId, Bet, BetSink, BetSource, RawBet};
use loteria::storage::Rows;
use loteria::wire::{Bets, Context, Dialect, Framing, Request};

const BETS: u32 = 150;
const WINNING_NUMBER: u32 = 7574;
const AGENCY: AgencyId = AgencyId(1);

/// Reads every field's length and numbers, and nothing else of them.
#[derive(Default)]
struct Lengths {
    sum: u64,
}

impl BetSink for Lengths {
    #[inline]
    fn put(&mut self, bet: &RawBet<'_>) {
        let texts = bet.first_name.len() + bet.last_name.len() + bet.document.len();
        self.sum += texts as u64 + u64::from(bet.birthdate) + u64::from(bet.number.unwrap_or(0));
    }
}

/// The first bets of the project's own data.
fn bets() -> Vec<Bet> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/.data/agency-1.csv");
    let mut file = csv::ReaderBuilder::new().has_headers(false).from_path(path).expect(path);
    let bet = |record: csv::ByteRecord| {
        let [first, last, document, date, number] = std::array::from_fn(|place| record.get(place).unwrap_or_default());
        Bet::from_text(first, last, document, date, number).expect("the project's own bets are valid")
    };
    file.byte_records().take(BETS as usize).map(|record| bet(record.expect(path))).collect()
}

/// A batch of `bets` as one frame.
fn frame(dialect: Dialect, bets: &[Bet]) -> Vec<u8> {
    let (mut body, mut frame) = (Vec::new(), Vec::new());
    (0..).zip(bets).for_each(|(index, bet)| dialect.put_bet(AGENCY, index, &bet.as_raw(), &mut body));
    dialect.put_batch(AGENCY, 0, u32::try_from(bets.len()).expect("few bets"), &body, &mut frame);
    frame
}

/// Frames a batch and opens it, as the hub does.
fn open(dialect: Dialect, bytes: &[u8]) -> Bets<'_> {
    let context = Context { frame_bytes_max: 1 << 20, opening: false, scanned: 0 };
    let Framing::Complete { bytes: end } = dialect.frame(bytes, &context) else { unreachable!("a whole frame") };
    let Ok(Request::Batch(batch)) = dialect.decode(&bytes[..end], &context) else { unreachable!("a batch") };
    batch.bets
}

/// One way of spending a batch, measured for every dialect.
fn each_dialect(criterion: &mut Criterion, name: &str, mut spend: impl FnMut(&Bets<'_>) -> u32) {
    let bets = bets();
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(u64::from(BETS)));
    for &dialect in Dialect::ALL.iter().filter(|dialect| **dialect != Dialect::Echo) {
        let bytes = frame(dialect, &bets);
        assert_eq!(spend(&open(dialect, &bytes)), BETS, "{}", dialect.name());
        group.bench_with_input(BenchmarkId::from_parameter(dialect.name()), &bytes, |bencher, bytes| {
            bencher.iter(|| black_box(spend(&open(dialect, black_box(bytes)))));
        });
    }
    group.finish();
}

fn decode(criterion: &mut Criterion) {
    each_dialect(criterion, "decode", |bets| {
        let mut sink = Lengths::default();
        let count = bets.feed(&mut sink);
        black_box(sink.sum);
        count.unwrap_or(0)
    });
}

fn rows(criterion: &mut Criterion) {
    let mut rows = Rows::default();
    each_dialect(criterion, "rows", |bets| {
        let appended = rows.append(AGENCY, WINNING_NUMBER, bets).map_or(0, |appended| appended.bets);
        rows.truncate(0);
        appended
    });
    each_dialect(criterion, "rows-slowly", |bets| {
        let appended = rows.append_slowly(AGENCY, WINNING_NUMBER, bets).map_or(0, |appended| appended.bets);
        rows.truncate(0);
        appended
    });
}

criterion_group!(benches, decode, rows);
criterion_main!(benches);
