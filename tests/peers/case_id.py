"""A client of `case-id`: one byte says what comes, a u32 says how much, strings carry their own length."""

import struct

from link import Closed, Link


def string(text):
    data = text.encode()
    return struct.pack(">I", len(data)) + data


def strings(data):
    found, start = [], 0
    while start < len(data):
        (size,) = struct.unpack_from(">I", data, start)
        if start + 4 + size > len(data):
            raise Closed(f"a string of {size} bytes overruns {data!r}")
        found.append(data[start + 4 : start + 4 + size].decode())
        start += 4 + size
    return found


def bet_bytes(agency, bet):
    fields = map(string, (bet.first, bet.last, bet.document, bet.birthdate))
    return struct.pack(">I", agency) + b"".join(fields) + struct.pack(">I", bet.number)


def batch_bytes(agency, bets):
    body = b"".join(bet_bytes(agency, bet) for bet in bets)
    return struct.pack(">BI", 1, len(body)) + body


class Client:
    def __init__(self, address, agency, cut):
        self.agency, self.link = agency, Link(address, cut)

    def upload(self, batches):
        # A batch has no reply: the reply to the finish tells whether all batches were stored.
        for batch in batches:
            self.link.send(batch_bytes(self.agency, batch))

    def finish(self):
        self.link.send(b"\x02")
        answer = self.link.exactly(1)
        if answer != b"\x02":
            raise RuntimeError(f"a batch was rejected: {answer!r}")

    def winners(self):
        self.link.send(struct.pack(">BI", 3, self.agency))
        (size,) = struct.unpack(">I", self.link.exactly(4))
        documents = strings(self.link.exactly(size))
        if extra := self.link.rest():
            raise RuntimeError(f"more after the winners: {extra!r}")
        return documents

    def close(self):
        self.link.close()
