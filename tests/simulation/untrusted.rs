//! Connections that are nobody's: echoes, whose answer is known, and bytes of every evil kind, which must have no
//! effect at all.

use loteria::limits;
use loteria::lottery::AgencyId;
use loteria::wire::Dialect;

use crate::bets::Kind;
use crate::clients::World;
use crate::net::{Ask, LinkId};
use crate::trace;

/// An agency of no draw. No bit or byte flipped here and there makes it one of any draw.
const NOBODY: u32 = 989_898_989;

/// Opens a connection of one kind or another, writes to it, and may be gone at once.
pub fn visit(world: &mut World<'_>) {
    let agencies: Vec<u32> = world.model.agencies.keys().copied().collect();
    let link = match world.rng.below(8) {
        5 => return two_agencies(world, &agencies),
        6 => return many_finishes(world),
        7 => return hogs(world, &agencies),
        0 => echo(world),
        1 => noise(world),
        2 => frame_of_nobody(world),
        3 => torn_frame(world, &agencies),
        _ => huge_length(world),
    };
    let Some(link) = link else { return };
    trace::event("untrusted peer", &[("link", link as u64)]);
    match world.rng.below(4) {
        0 => world.close(link),
        1 => world.half_close(link),
        2 => world.net.links[link].break_off(),
        _ => {}
    }
}

fn open(world: &mut World<'_>, dialect: Dialect, agency: Option<u32>) -> Option<LinkId> {
    let link = world.connect(dialect, agency)?;
    world.net.links[link].untrusted = dialect != Dialect::Echo;
    Some(link)
}

/// More requests at once than a turn takes, on a few connections, each of which ends its side behind them.
fn many_finishes(world: &mut World<'_>) {
    for _ in 0..world.rng.range(1, 3) {
        let Some(link) = open(world, Dialect::Binary, None) else { return };
        let count = world.rng.range(1, 3 * limits::UNTRUSTED_TURN_REQUESTS as usize);
        let end = &mut world.net.links[link];
        (0..count).for_each(|_| Dialect::Binary.put_finish(AgencyId(NOBODY), &mut end.up));
        // Each is refused with one byte, and nothing keeps that from the peer.
        end.owed_bytes = Some(count);
        end.room = 1 << 20;
        trace::event("many finishes", &[("link", link as u64), ("count", count as u64)]);
        world.half_close(link);
    }
}

/// One line, whole or not.
fn echo(world: &mut World<'_>) -> Option<LinkId> {
    let link = open(world, Dialect::Echo, None)?;
    let line = world.rng.pick(&["hola\n", "[CLIENT 1] Message N°1\n", "no end", "7574\n", "12", "\n", "dos\nlineas\n"]);
    let end = &mut world.net.links[link];
    end.up.extend_from_slice(line.as_bytes());
    end.asked(Ask::Nonsense);
    Some(link)
}

/// Any bytes but those that `csv` takes for a client without a number, which would be one.
fn noise(world: &mut World<'_>) -> Option<LinkId> {
    let link = open(world, Dialect::Native, None)?;
    let count = world.rng.range(1, 40);
    let mut bytes: Vec<u8> = (0..count).map(|_| world.rng.bits() as u8).collect();
    let first = world.rng.pick(&[0x00, 0x02, 0x03, b'7', b'9', 0xb7, 0x16, 0x80, b'x', 0xfe]);
    bytes[0] = first;
    world.net.links[link].up = bytes;
    Some(link)
}

/// A frame as it should be, or nearly, of an agency that is not of the draw.
fn frame_of_nobody(world: &mut World<'_>) -> Option<LinkId> {
    let dialect =
        world.rng.pick(&[Dialect::Binary, Dialect::CaseId, Dialect::Text, Dialect::KeyValue, Dialect::Native]);
    let link = open(world, dialect, None)?;
    let batch = world.model.batches.make(world.rng, Some(NOBODY), Kind::Conflict, 2);
    let end = &mut world.net.links[link];
    dialect.put_hello(AgencyId(NOBODY), &mut end.up);
    world.model.batches.put(batch, dialect, NOBODY, 0, link, &mut end.up);
    dialect.put_finish(AgencyId(NOBODY), &mut end.up);
    dialect.put_query(AgencyId(NOBODY), &mut end.up);
    for _ in 0..world.rng.below(3) {
        // The first bytes stay: they say which dialect it is, and `csv` would be given an agency.
        let at = world.rng.range(5, end.up.len() - 1);
        end.up[at] ^= 1 << world.rng.below(8);
    }
    Some(link)
}

/// The start of a frame of an agency that is of the draw, and its end never.
fn torn_frame(world: &mut World<'_>, agencies: &[u32]) -> Option<LinkId> {
    let agency = world.rng.pick(agencies);
    let dialect = world.model.agencies[&agency].dialect;
    if dialect == Dialect::Csv {
        return None;
    }
    let link = open(world, dialect, Some(agency))?;
    let batch = world.model.batches.make(world.rng, Some(agency), Kind::Conflict, 2);
    let end = &mut world.net.links[link];
    dialect.put_hello(AgencyId(agency), &mut end.up);
    let hello = end.up.len();
    if hello > 0 {
        end.asked(Ask::Hello);
    }
    world.model.batches.put(batch, dialect, agency, 0, link, &mut end.up);
    let len = world.rng.range(hello.max(1), end.up.len() - 1);
    // A length that is a line of its own would be an echo's.
    end.up.truncate(len.max(5));
    Some(link)
}

/// Batches that are refused, of two agencies on one connection: it speaks for both of them, as long as it is open.
fn two_agencies(world: &mut World<'_>, agencies: &[u32]) {
    let dialect = world.rng.pick(&[Dialect::Binary, Dialect::CaseId, Dialect::Text, Dialect::KeyValue]);
    let numbered = |agency: &&u32| world.model.agencies[*agency].dialect != Dialect::Csv;
    let numbered: Vec<u32> = agencies.iter().filter(numbered).copied().collect();
    // One that has begun could be lost.
    let begun = numbered.iter().copied().find(|agency| world.model.agencies[agency].batches > 0);
    let Some(first) = begun else { return };
    let Some(second) = numbered.into_iter().find(|agency| *agency != first) else { return };
    let Some(link) = open(world, dialect, Some(second)) else { return };
    for agency in [first, second] {
        let batch = world.model.batches.make(world.rng, Some(agency), Kind::Bad, 1);
        let end = &mut world.net.links[link];
        world.model.batches.put(batch, dialect, agency, 0, link, &mut end.up);
        if agency == first {
            end.earlier = Some((agency, end.up.len()));
        } else {
            end.named_at = Some(end.up.len());
        }
    }
    trace::event("two agencies", &[("link", link as u64), ("first", u64::from(first)), ("second", u64::from(second))]);
}

/// Connections of an agency, by their certificate, that fill many turns with batches that are refused.
fn hogs(world: &mut World<'_>, agencies: &[u32]) {
    let agency = world.rng.pick(agencies);
    if world.model.agencies[&agency].dialect == Dialect::Csv {
        return;
    }
    let batch = world.model.batches.make(world.rng, Some(agency), Kind::Bad, 1);
    for _ in 0..world.rng.range(1, 3) {
        let Some(link) = open(world, Dialect::Binary, Some(agency)) else { return };
        let mut frame = Vec::new();
        world.model.batches.put(batch, Dialect::Binary, agency, 0, link, &mut frame);
        let count = world.rng.range(1, 600);
        let end = &mut world.net.links[link];
        (end.certified, end.named_at) = (Some(agency), Some(frame.len()));
        end.up = frame.repeat(count);
        end.room = 1 << 20;
        trace::event("hog", &[("link", link as u64), ("count", count as u64)]);
    }
}

/// A length that nobody would send, and nothing behind it.
fn huge_length(world: &mut World<'_>) -> Option<LinkId> {
    let link = open(world, Dialect::Native, None)?;
    let bytes = world.rng.pick(&[
        &b"\0\0\0\x01\xff\xff\xff\xff"[..],
        b"\0\xff\xff\xffBATCH",
        b"\x01\0\0\xff\xff\xff\xff",
        b"\x03\xff\xff\xff\xff",
        b"999999999\nx",
        b"\xb7LN\x01\x3b\0\x5e\xed\x7f\xff\xff\xff",
        b"\xb7LN\x02\0\0\0\x01",
    ]);
    world.net.links[link].up.extend_from_slice(bytes);
    Some(link)
}
