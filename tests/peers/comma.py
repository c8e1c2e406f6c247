"""A client of `csv`: a kind, a u16 length, and bets that are nothing but fields between commas.

The wire carries no agency: the hub gives each connection a free id. (The module is not called `csv`, for that is
Python's own.)
"""

import struct

from link import Link


def batch_bytes(bets):
    fields = (f"{bet.first},{bet.last},{bet.document},{bet.birthdate},{bet.number}," for bet in bets)
    text = "".join(fields).encode()
    return struct.pack(">BH", 1, len(text)) + text


class Client:
    def __init__(self, address, agency, cut):
        self.link = Link(address, cut)

    def upload(self, batches):
        for batch in batches:
            self.link.send(batch_bytes(batch))
            if (answer := self.link.exactly(1)) != b"\x02":
                raise RuntimeError(f"the batch was answered {answer!r}")

    def finish(self):
        self.link.send(b"\xff")

    def winners(self):
        kind, size = struct.unpack(">BH", self.link.exactly(3))
        if kind != 3:
            raise RuntimeError(f"the finish was answered with kind {kind}")
        text = self.link.exactly(size).decode()
        if extra := self.link.rest():
            raise RuntimeError(f"more after the winners: {extra!r}")
        return text.split(",") if text else []

    def close(self):
        self.link.close()
