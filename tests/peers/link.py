"""One TCP connection as a client sees it: exact reads, and writes cut in any way the caller likes."""

import random
import socket
import struct

# Long enough for a busy machine, short enough that a hub that forgot an answer fails the run.
TIMEOUT_SECONDS = 120


class Closed(Exception):
    """The peer closed the connection before the bytes that were asked for."""


def whole(data):
    """Every message in one write."""
    return [data]


def bytewise(data):
    """Every byte in a write of its own."""
    return [data[i : i + 1] for i in range(len(data))]


def at_random(seed):
    """Messages cut at random places, most pieces a few bytes long; the same seed cuts the same way."""
    chance = random.Random(seed)

    def cut(data):
        pieces, start = [], 0
        while start < len(data):
            end = start + chance.choice((1, 2, 3, 5, 8, 40, 400))
            pieces.append(data[start:end])
            start = end
        return pieces

    return cut


def splitter(name, seed):
    """The way of cutting that a command line names."""
    return {"whole": whole, "bytes": bytewise, "random": at_random(seed)}[name]


class Link:
    """A connection to `address`, a (host, port) pair; `cut` turns a message into the pieces to write."""

    def __init__(self, address, cut=whole):
        self.cut = cut
        self.socket = socket.create_connection(address, timeout=TIMEOUT_SECONDS)
        # Without this the kernel joins the pieces again.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = self.socket.makefile("rb")

    def send(self, data):
        for piece in self.cut(data):
            self.socket.sendall(piece)

    def exactly(self, size):
        data = self.reader.read(size)
        if len(data) < size:
            raise Closed(f"wanted {size} bytes, got {data!r}")
        return data

    def line(self, size_max=1024):
        data = self.reader.readline(size_max)
        if not data.endswith(b"\n"):
            raise Closed(f"wanted a line, got {data!r}")
        return data[:-1]

    def rest(self):
        """Everything up to the peer's close; a reset counts as one, for what a peer left unread makes it so."""
        data = b""
        try:
            while piece := self.reader.read1(65536):
                data += piece
        except ConnectionResetError:
            pass
        return data

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)

    def abort(self):
        """Closes with a reset, as a connection that breaks does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self):
        self.reader.close()
        self.socket.close()
