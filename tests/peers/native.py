"""A client of `native`, version 1: numbered batches in flight, cumulative acknowledgements, a checksum per frame."""

import struct

from crc32c import crc32c
from link import Link

MAGIC = b"\xb7LN\x01"
BATCH, FINISH, QUERY = 0x01, 0x02, 0x03
ACK, REJECT, FINISHED, WINNERS, ERROR = 0x81, 0x82, 0x83, 0x84, 0x85
WINDOW = 16


def frame(kind, body=b""):
    checked = bytes([kind]) + body
    return struct.pack(">I", len(checked) + 4) + checked + struct.pack(">I", crc32c(checked))


def short(text):
    data = text.encode()
    return bytes([len(data)]) + data


def bet_bytes(bet):
    return short(bet.first) + short(bet.last) + short(bet.document) + struct.pack(">II", bet.yyyymmdd(), bet.number)


def batch_body(sequence, bets):
    return struct.pack(">QH", sequence, len(bets)) + b"".join(map(bet_bytes, bets))


def documents(body):
    """The documents of a list of bets: u32 count, then the bets."""
    (count,), start, found = struct.unpack_from(">I", body), 4, []
    for _ in range(count):
        texts = []
        for _ in range(3):
            size = body[start]
            texts.append(body[start + 1 : start + 1 + size].decode())
            start += 1 + size
        start += 8
        found.append(texts[2])
    if start != len(body):
        raise RuntimeError(f"{len(body) - start} bytes after the last winner")
    return found


class Client:
    def __init__(self, address, agency, cut, window=WINDOW):
        self.address, self.agency, self.cut, self.window = address, agency, cut, window
        self.connect()

    def connect(self):
        self.link = Link(self.address, self.cut)
        self.link.send(MAGIC + struct.pack(">I", self.agency))
        magic, self.status, self.next = struct.unpack(">4sBQ", self.link.exactly(13))
        if magic != MAGIC or self.status != 0:
            raise RuntimeError(f"the hub does not take us: {magic!r}, status {self.status}")

    def receive(self):
        (size,) = struct.unpack(">I", self.link.exactly(4))
        data = self.link.exactly(size)
        if struct.unpack(">I", data[-4:])[0] != crc32c(data[:-4]):
            raise RuntimeError(f"a wrong checksum: {data!r}")
        return data[0], data[1:-4]

    def expect(self, kind):
        got, body = self.receive()
        if got != kind:
            raise RuntimeError(f"wanted kind {kind:02x}, got {got:02x}: {body!r}")
        return body

    def acknowledged(self):
        """Waits for one acknowledgement, which may cover many batches."""
        (next_,) = struct.unpack(">Q", self.expect(ACK))
        if next_ < self.next:
            raise RuntimeError(f"acknowledgements went back from {self.next} to {next_}")
        self.next = next_

    def upload(self, batches):
        """Sends the batches that the hub does not hold yet, `window` of them in flight."""
        self.sent, self.bets_sent = len(batches), sum(map(len, batches))
        for sequence in range(self.next, len(batches)):
            while sequence - self.next >= self.window:
                self.acknowledged()
            self.link.send(frame(BATCH, batch_body(sequence, batches[sequence])))
        while self.next < len(batches):
            self.acknowledged()

    def finish(self):
        self.link.send(frame(FINISH))
        told = struct.unpack(">QQ", self.expect(FINISHED))
        if told != (self.sent, self.bets_sent):
            raise RuntimeError(f"sent {self.sent} batches of {self.bets_sent} bets, the hub holds {told}")

    def winners(self):
        self.link.send(frame(QUERY))
        return documents(self.expect(WINNERS))

    def close(self):
        self.link.close()


class Dropping(Client):
    """Loses its connection in the middle of the upload, again and again, and resumes each time.

    Some of what was in flight is stored by then and some is not, and no acknowledgement of it was read.
    """

    def upload(self, batches):
        for _ in range(5):
            for sequence in range(self.next, min(self.next + self.window, len(batches))):
                self.link.send(frame(BATCH, batch_body(sequence, batches[sequence])))
            self.link.abort()
            self.connect()
        super().upload(batches)


def one_at_a_time(address, agency, cut):
    return Client(address, agency, cut, window=1)
