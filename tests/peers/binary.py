"""A client of `binary`: a header of two u32, in either order, and every number a u32."""

import struct
import time

from link import Link

# How long a client waits that was told "not yet".
POLL_SECONDS = 0.02

BATCH, FINISHED, QUERY = 1, 2, 3


def type_first(kind, body):
    """The running clients: the type, then the length of what follows."""
    return struct.pack(">II", kind, len(body)) + body


def length_first(kind, body):
    """The documents: the length of the whole message, then the type."""
    return struct.pack(">II", 8 + len(body), kind) + body


def bet_bytes(bet):
    first, last = bet.first.encode(), bet.last.encode()
    names = struct.pack(">I", len(first)) + first + struct.pack(">I", len(last)) + last
    return names + struct.pack(">III", int(bet.document), bet.yyyymmdd(), bet.number)


def batch_body(agency, bets):
    return struct.pack(">II", agency, len(bets)) + b"".join(map(bet_bytes, bets))


class Client:
    def __init__(self, address, agency, cut, frame=type_first):
        self.agency, self.link, self.frame = agency, Link(address, cut), frame
        self.not_yet = 0

    def ask(self, kind, body):
        self.link.send(self.frame(kind, body))
        return self.link.exactly(1)

    def upload(self, batches):
        for batch in batches:
            if (answer := self.ask(BATCH, batch_body(self.agency, batch))) != b"\0":
                raise RuntimeError(f"the batch was answered {answer!r}")

    def finish(self):
        if (answer := self.ask(FINISHED, struct.pack(">I", self.agency))) != b"\0":
            raise RuntimeError(f"the finish was answered {answer!r}")

    def winners(self):
        while (answer := self.ask(QUERY, struct.pack(">I", self.agency))) == b"\1":
            self.not_yet += 1
            time.sleep(POLL_SECONDS)
        if answer != b"\0":
            raise RuntimeError(f"the query was answered {answer!r}")
        (count,) = struct.unpack(">I", self.link.exactly(4))
        documents = struct.unpack(f">{count}I", self.link.exactly(4 * count))
        return [f"{document:08}" for document in documents]

    def close(self):
        self.link.close()


def length_first_client(address, agency, cut):
    return Client(address, agency, cut, frame=length_first)
