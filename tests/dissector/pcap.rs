//! Capture files made by hand: TCP conversations of any bytes, for what no real client would send.

/// The hub's port in these files.
pub const PORT: u16 = 12345;
const CLIENT: [u8; 4] = [10, 0, 0, 1];
const HUB: [u8; 4] = [10, 0, 0, 2];
/// Packets begin with their IPv4 header (the file format's LINKTYPE_RAW).
const RAW_IP: u32 = 101;
/// Flags of a TCP header.
const SYN: u8 = 0x02;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

/// One segment: from the client, or from the hub.
pub type Segment = (bool, Vec<u8>);

/// The file: a conversation after the other, each from a port of its own.
pub fn write(conversations: &[Vec<Segment>]) -> Vec<u8> {
    write_as(conversations, |packets| packets)
}

/// The same with the packets of each conversation as `order` leaves them: in another order, and some again.
pub fn write_as(conversations: &[Vec<Segment>], order: impl Fn(Vec<Vec<u8>>) -> Vec<Vec<u8>>) -> Vec<u8> {
    let mut out = Vec::new();
    for word in [0xA1B2_C3D4, 0x0002_0004_u32.rotate_left(16), 0, 0, 65535, RAW_IP] {
        out.extend(u32::to_le_bytes(word));
    }
    let mut clock = 0u32;
    for (port, segments) in (20_000u16..).zip(conversations) {
        for packet in order(packets(port, segments)) {
            clock += 1;
            let size = u32::try_from(packet.len()).expect("small packets");
            for word in [clock / 1000, clock % 1000 * 1000, size, size] {
                out.extend(word.to_le_bytes());
            }
            out.extend(packet);
        }
    }
    out
}

fn packets(port: u16, segments: &[Segment]) -> Vec<Vec<u8>> {
    // Each side's first segment tells where its bytes begin.
    let mut packets = vec![packet(port, true, [999, 0], SYN, b""), packet(port, false, [1000, 4999], SYN | ACK, b"")];
    let mut sent = [1000u32, 5000];
    for (from_client, bytes) in segments {
        packets.push(packet(port, *from_client, sent, PSH | ACK, bytes));
        sent[usize::from(!from_client)] += u32::try_from(bytes.len()).expect("small packets");
    }
    packets
}

/// An order for `write_as`: after the handshake, neighbours of one direction change places, and packets come again, each
/// by chance. The same seed is the same order.
pub fn disturbed(mut packets: Vec<Vec<u8>>, seed: u64) -> Vec<Vec<u8>> {
    let mut chance = chance(seed);
    let source = |packet: &[u8]| (packet[20], packet[21]);
    for at in 2..packets.len() - 1 {
        if source(&packets[at]) == source(&packets[at + 1]) && chance(2) == 0 {
            packets.swap(at, at + 1);
        }
    }
    for _ in 0..packets.len() / 4 {
        let from = 2 + chance(packets.len() - 2);
        let to = packets.len().min(from + 1 + chance(4));
        packets.insert(to, packets[from].clone());
    }
    packets
}

/// Numbers below what is asked for: xorshift, the same in every run.
fn chance(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = 0x2545_F491_4F6C_DD1D_u64.wrapping_add(seed);
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).expect("below a usize")
    }
}

/// IPv4 and TCP headers without checksums, which tshark does not check unless asked, and the bytes.
fn packet(port: u16, from_client: bool, sent: [u32; 2], flags: u8, bytes: &[u8]) -> Vec<u8> {
    let (from, to) = if from_client { (CLIENT, HUB) } else { (HUB, CLIENT) };
    let (source, target) = if from_client { (port, PORT) } else { (PORT, port) };
    let [sequence, acknowledged] = if from_client { sent } else { [sent[1], sent[0]] };
    let total = u16::try_from(40 + bytes.len()).expect("small packets");
    let mut out = vec![0x45, 0];
    out.extend(total.to_be_bytes());
    out.extend([0, 0, 0, 0, 64, 6, 0, 0]);
    out.extend(from);
    out.extend(to);
    out.extend(source.to_be_bytes());
    out.extend(target.to_be_bytes());
    out.extend(sequence.to_be_bytes());
    out.extend(acknowledged.to_be_bytes());
    // Header of five words; window; no checksum; not urgent.
    out.extend([0x50, flags, 0xFF, 0xFF, 0, 0, 0, 0]);
    out.extend(bytes);
    out
}

/// Conversations that begin as some dialect does and go on as bytes that no dialect sends, always the same.
pub fn garbage(count: usize) -> Vec<Vec<Segment>> {
    const OPENINGS: [&[u8]; 10] = [
        b"\0\0\0\x01\0\0\0\x10",
        b"\0\0\0\x20\0\0\0\x01",
        b"\0\0\0\x30BATCH_SIZE:1|BET_1:\\",
        b"\x01\0\0\0\x20",
        b"\x01\0\x21a,b,c,d,",
        b"\x02",
        b"12\n",
        b"\xB7LN\x01\0\0\0\x01",
        b"\xFF",
        b"hello",
    ];
    let mut next = chance(0);
    let alphabet = b"\0\0\0\0\x01\x02\x03\x04\x08\x81\x82\x84\x85\xFF\xC3\xA9aA:|\\,\n09-BET_GET_WINNERS|1";
    (0..count)
        .map(|index| {
            let mut segments: Vec<Segment> = vec![(true, OPENINGS[index % OPENINGS.len()].to_vec())];
            for _ in 0..next(6) {
                let bytes = (0..=next(60)).map(|_| alphabet[next(alphabet.len())]).collect();
                segments.push((next(3) > 0, bytes));
            }
            segments
        })
        .collect()
}
