//! The row encoder, fast and slow: `cargo bench --bench rows`.
//!
//! Each figure is for one batch of 150 bets of `.data/agency-1.csv`, so divide by 150 for a bet.

#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use loteria::lottery::{AgencyId, BatchError, Bet, BetSink, BetSource, RawBet, Text};
use loteria::storage::Rows;
use loteria::wire::{Context, Dialect, Request};

const BATCH: usize = 150;
const AGENCY: AgencyId = AgencyId(1);

fn bets() -> Vec<Bet> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_path(".data/agency-1.csv").unwrap();
    let row = |row: Result<csv::ByteRecord, _>| {
        let row = row.unwrap();
        Bet::from_text(&row[0], &row[1], &row[2], &row[3], &row[4]).unwrap()
    };
    reader.byte_records().map(row).collect()
}

/// Bets whose fields lie in one long frame, as a decoder has them, but without its work.
struct Decoded {
    frame: Vec<u8>,
    bets: Vec<Fields>,
}

/// Where the texts of one bet are in the frame, and its numbers.
struct Fields {
    texts: [(usize, usize); 3],
    birthdate: u32,
    number: u32,
}

impl Decoded {
    fn new(bets: &[Bet]) -> Decoded {
        let mut decoded = Decoded { frame: Vec::new(), bets: Vec::new() };
        for bet in bets {
            let mut push = |text: &str| {
                let at = decoded.frame.len();
                decoded.frame.extend(text.as_bytes());
                (at, text.len())
            };
            let texts = [push(bet.first_name()), push(bet.last_name()), push(bet.document())];
            let (birthdate, number) = (bet.birthdate().yyyymmdd(), bet.number());
            decoded.bets.push(Fields { texts, birthdate, number });
        }
        decoded.frame.extend([0; 64]);
        decoded
    }
}

impl BetSource for Decoded {
    #[inline]
    fn feed<S: BetSink>(&self, sink: &mut S) -> Result<u32, BatchError> {
        for Fields { texts, birthdate, number } in &self.bets {
            let [first_name, last_name, document] = texts.map(|(at, len)| Text::new(&self.frame[at..], len).unwrap());
            sink.put(&RawBet { first_name, last_name, document, birthdate: *birthdate, number: Some(*number) });
        }
        Ok(u32::try_from(self.bets.len()).unwrap())
    }
}

fn frame(dialect: Dialect, bets: &[Bet]) -> Vec<u8> {
    let (mut body, mut frame) = (Vec::new(), Vec::new());
    for (index, bet) in (0..).zip(bets) {
        dialect.put_bet(AGENCY, index, &bet.as_raw(), &mut body);
    }
    dialect.put_batch(AGENCY, 0, u32::try_from(bets.len()).unwrap(), &body, &mut frame);
    frame
}

fn rows(criterion: &mut Criterion) {
    let bets = bets();
    let mut group = criterion.benchmark_group("rows");
    group.throughput(Throughput::Elements(BATCH as u64));
    let decoded: Vec<_> = bets.chunks_exact(BATCH).map(Decoded::new).collect();
    let mut rows = Rows::default();
    let mut batches = decoded.iter().cycle();
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            rows.truncate(0);
            black_box(rows.append(AGENCY, 7574, batches.next().unwrap()).unwrap());
        });
    });
    group.bench_function("encode slowly", |bencher| {
        bencher.iter(|| {
            rows.truncate(0);
            black_box(rows.append_slowly(AGENCY, 7574, batches.next().unwrap()).unwrap());
        });
    });
    let context = Context { frame_bytes_max: 1 << 20, opening: false, scanned: 0 };
    let frames: Vec<_> = bets.chunks_exact(BATCH).map(|bets| frame(Dialect::Binary, bets)).collect();
    let mut batches = frames.iter().cycle();
    group.bench_function("decode binary and encode", |bencher| {
        bencher.iter(|| {
            rows.truncate(0);
            let Ok(Request::Batch(batch)) = Dialect::Binary.decode(batches.next().unwrap(), &context) else {
                unreachable!("a batch was framed")
            };
            black_box(rows.append(AGENCY, 7574, &batch.bets).unwrap());
        });
    });
    group.finish();
}

criterion_group!(benches, rows);
criterion_main!(benches);
