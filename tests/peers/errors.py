"""Does everything wrong that the documents name, in every dialect, and compares the hub's answers with theirs.

    errors.py --server HOST:PORT

The hub must have agencies 1 to 8 (99 does not exist), and give 7 to connections that carry no agency. No draw happens:
agency 8 never finishes. Prints one line per check and fails where an answer differs.
"""

import argparse
import struct
import sys

import binary
import case_id
import comma
import echo
import key_value
import native
import text
from bets import Bet
from link import Link, whole

GOOD = Bet("Ana", "Pérez", "30904465", "1999-03-17", 2201)
# There is no such day; nothing else is wrong with it.
BAD = GOOD._replace(birthdate="2001-02-29")
UNKNOWN = 99
# An agency that never finishes.
UNFINISHED = 8
# Batches sent without waiting: the first is rejected, the second is above it and has to come again.
IN_FLIGHT = ((1, [BAD]), (2, [GOOD]), (1, [GOOD]), (2, [GOOD]))
TOO_LONG = 0xFFFFFFF0


class Checks:
    """Counts what differed, and prints every check."""

    def __init__(self):
        self.failed = 0

    def same(self, what, got, want):
        ok = got == want
        self.failed += not ok
        print(f"{'ok  ' if ok else 'FAIL'} {what}" + ("" if ok else f": got {got!r}, the documents say {want!r}"))


def answers(address, sent, *sizes):
    """What comes back, `sizes` bytes at a time, for bytes sent on a connection of their own; last, the rest."""
    link = Link(address)
    link.send(sent)
    got = [link.exactly(size) for size in sizes] if sizes else [link.rest()]
    link.close()
    return got


def closes(link):
    """Whatever comes before the hub closes the connection."""
    got = link.rest()
    link.close()
    return got


def check_case_id(address, check, agency):
    good, bad = case_id.batch_bytes(agency, [GOOD]), case_id.batch_bytes(agency, [BAD])
    unknown = case_id.batch_bytes(UNKNOWN, [GOOD])
    check.same("case-id: a batch of an agency unknown fails the finish", answers(address, unknown + b"\2", 1), [b"\0"])
    link = Link(address)
    link.send(good)
    link.send(struct.pack(">BI", 1, TOO_LONG))
    check.same("case-id: a length over the limit closes", closes(link), b"\0")
    overrun = struct.pack(">BIII", 1, 8, agency, 400)
    check.same("case-id: a string that overruns closes", closes_after(address, overrun), b"\0")
    check.same("case-id: an unknown case closes", closes_after(address, good + b"\x09"), b"\0")
    check.same("case-id: an empty batch and a query of an unknown agency",
               closes_after(address, b"\1\0\0\0\0\3\0\0\0\x63"), b"\0")
    link = Link(address)
    link.send(bad)
    link.send(good)
    link.send(b"\2")
    check.same("case-id: a bad bet fails the finish, the good batch after it stays", link.exactly(1), b"\0")
    link.close()
    check.same("case-id: a bet after the finish is too late", answers(address, good + b"\2", 1), [b"\0"])


def closes_after(address, sent):
    link = Link(address)
    link.send(sent)
    return closes(link)


def check_text(address, check, agency):
    link = Link(address)

    def ask(message):
        link.send(text.frame(message))
        return text.receive(link)

    check.same("text: a bad bet", ask(text.line(agency, BAD)), "ERROR_INVALID_BATCH")
    mixed = text.line(agency, GOOD) + "\n" + text.line(agency, BAD)
    check.same("text: a bad bet beside a good one", ask(mixed), "ERROR_INVALID_BATCH")
    check.same("text: a line of too few fields", ask("Ana|Perez|1|1999-03-17|1"), "ERROR_INVALID_BATCH")
    check.same("text: no bets", ask(""), "ERROR_EMPTY_BATCH")
    check.same("text: an agency unknown", ask(text.line(UNKNOWN, GOOD)), "ERROR_INVALID_AGENCY")
    check.same("text: a query without an agency", ask("GET_WINNERS"), "ERROR_INVALID_GET_WINNERS")
    check.same("text: a query without a bar", ask("GET_WINNERS1"), "ERROR_INVALID_GET_WINNERS")
    check.same("text: a query of no number", ask("GET_WINNERS|x"), "ERROR_INVALID_GET_WINNERS")
    check.same("text: a query of an agency unknown", ask(f"GET_WINNERS|{UNKNOWN}"), "ERROR_INVALID_AGENCY")
    check.same("text: a good batch after all that", ask(text.line(agency, GOOD)), "ACK")
    windows = "\r\n".join([text.line(agency, GOOD)] * 2) + "\r\n"
    check.same("text: lines that end in CRLF", ask(windows), "ACK")
    check.same("text: spaces around fields", ask(text.line(agency, GOOD).replace("|", " | ") + " "), "ACK")
    parked = Link(address)
    parked.send(text.frame(f"GET_WINNERS|{agency}"))
    # The first query is the finish, and gets no answer before the draw: asked until the finish shows.
    late = ask(text.line(agency, GOOD))
    while late == "ACK":
        late = ask(text.line(agency, GOOD))
    check.same("text: a bet after the first query is too late", late, "ERROR_INVALID_BATCH")
    parked.close()
    link.send(text.frame(text.line(UNFINISHED, GOOD)) * 2)
    check.same("text: two batches in one write are answered one by one", link.exactly(10), b"3\nACK3\nACK")
    link.send(b"999999999\nx")
    check.same("text: a length over the limit closes", closes(link), b"19\nERROR_INVALID_BATCH")


def check_key_value(address, check, agency):
    link = Link(address)

    def status(frame):
        link.send(frame)
        answer = key_value.receive(link)
        return answer["STATUS"], bool(answer.get("MESSAGE"))

    error, success = ("ERROR", True), ("SUCCESS", True)
    batch = key_value.batch_bytes
    check.same("key-value: a bad bet", status(batch(agency, [GOOD, BAD])), error)
    check.same("key-value: an agency unknown", status(batch(UNKNOWN, [GOOD])), error)
    one = key_value.barred(agency, GOOD)
    check.same("key-value: a size above the bets", status(key_value.frame(f"BATCH_SIZE:2|BET_1:{one}\n")), error)
    check.same("key-value: a size below the bets", status(key_value.frame(f"BATCH_SIZE:0|BET_1:{one}\n")), error)
    finish = key_value.frame(f"ACTION:FINISH_BETTING|AGENCY_ID:{UNKNOWN}\n")
    refused = closes_after(address, finish)
    check.same("key-value: the finish of an agency unknown", refused[4:25], b"STATUS:ERROR|MESSAGE:")
    check.same("key-value: no action known", status(key_value.frame("ACTION:DANCE|AGENCY_ID:3\n")), error)
    check.same("key-value: no bets", status(key_value.frame("BATCH_SIZE:0\n")), success)
    swapped = key_value.frame(f"BET_1:{one}|BATCH_SIZE:1\n")
    check.same("key-value: pairs in another order", status(swapped), success)
    for end in (" \n", "", "\r\n"):
        ended = key_value.frame(f"BATCH_SIZE:1|BET_1:{one}{end}")
        check.same(f"key-value: a payload that ends in {end!r}", status(ended), success)
    check.same("key-value: a good batch after all that", status(batch(agency, [GOOD])), success)
    link.send(key_value.frame(f"ACTION:FINISH_BETTING|AGENCY_ID:{agency}\n"))
    other = Link(address)
    statuses = []
    while ("ERROR", True) not in statuses:
        other.send(batch(agency, [GOOD]))
        answer = key_value.receive(other)
        statuses.append((answer["STATUS"], bool(answer["MESSAGE"])))
    check.same("key-value: a bet after the finish is too late", statuses[-1], error)
    other.send(struct.pack(">I", TOO_LONG))
    got = closes(other)
    check.same("key-value: a length over the limit closes", b"STATUS:ERROR|MESSAGE:" in got, True)
    link.close()


def check_binary(address, check, agency, frame, name):
    link = Link(address)

    def ask(kind, body):
        link.send(frame(kind, body))
        return link.exactly(1)

    body = binary.batch_body
    check.same(f"{name}: a bad bet", ask(binary.BATCH, body(agency, [GOOD, BAD])), b"\1")
    check.same(f"{name}: an agency unknown", ask(binary.BATCH, body(UNKNOWN, [GOOD])), b"\1")
    check.same(f"{name}: no bets", ask(binary.BATCH, body(agency, [])), b"\0")
    check.same(f"{name}: a good batch after all that", ask(binary.BATCH, body(agency, [GOOD])), b"\0")
    check.same(f"{name}: the finish", ask(binary.FINISHED, struct.pack(">I", agency)), b"\0")
    check.same(f"{name}: the finish again", ask(binary.FINISHED, struct.pack(">I", agency)), b"\0")
    check.same(f"{name}: a bet after the finish is too late", ask(binary.BATCH, body(agency, [GOOD])), b"\1")
    check.same(f"{name}: the finish of an agency unknown", ask(binary.FINISHED, struct.pack(">I", UNKNOWN)), b"\1")
    check.same(f"{name}: the query of an agency unknown", ask(binary.QUERY, struct.pack(">I", UNKNOWN)), b"\1")
    twice = frame(binary.BATCH, body(UNFINISHED, [GOOD])) * 2
    link.send(twice)
    check.same(f"{name}: two batches in one write are answered one by one", link.exactly(2), b"\0\0")
    link.close()
    short = frame(binary.QUERY, b"\0\0")
    check.same(f"{name}: a query cut short closes", closes_after(address, short), b"\1")
    # Of an agency that may still bet: a late batch is refused before anything in it is read.
    overrun = frame(binary.BATCH, struct.pack(">III", UNFINISHED, 1, 400))
    check.same(f"{name}: a name that overruns closes", closes_after(address, overrun), b"\1")
    extra = frame(binary.BATCH, body(UNFINISHED, [GOOD]) + b"\0")
    check.same(f"{name}: bytes after the last bet close", closes_after(address, extra), b"\1")


def check_binary_headers(address, check):
    finished = binary.type_first(binary.FINISHED, struct.pack(">I", 2))
    for what, header in (
        ("a length over the limit", struct.pack(">II", 1, TOO_LONG)),
        ("an unknown type", struct.pack(">II", 1 << 16, 9)),
        ("a header of zeros", bytes(8)),
    ):
        link = Link(address)
        link.send(finished)
        link.exactly(1)
        link.send(header)
        check.same(f"binary: {what} closes", closes(link), b"\1")


def check_csv(address, check):
    link = Link(address)

    def ask(data):
        link.send(data)
        return link.exactly(1)

    # Three bytes that could still be `case-id`: their silence says what they are.
    check.same("csv: no bets, before anything else", ask(comma.batch_bytes([])), b"\x02")
    check.same("csv: a bad bet", ask(comma.batch_bytes([GOOD, BAD])), b"\xff")
    check.same("csv: a batch of too few fields", ask(struct.pack(">BH", 1, 9) + b"Ana,Perez"), b"\xff")
    check.same("csv: no bets", ask(comma.batch_bytes([])), b"\x02")
    spaced = " Ana ,Perez , 30904465, 1999-03-17 ,2201,".encode()
    check.same("csv: spaces around fields", ask(struct.pack(">BH", 1, len(spaced)) + spaced), b"\x02")
    lines = (",".join(GOOD._replace(number=str(GOOD.number))) + ",\r\n").encode() * 2
    check.same("csv: a line break between bets", ask(struct.pack(">BH", 1, len(lines)) + lines), b"\x02")
    other = answers(address, comma.batch_bytes([GOOD]), 1)
    check.same("csv: no agency left for another connection", other, [b"\xff"])
    link.send(b"\x07")
    check.same("csv: an unknown kind closes", closes(link), b"\xff")


def check_native(address, check, agency):
    def hello(number):
        return native.MAGIC + struct.pack(">I", number)

    refused = closes_after(address, hello(UNKNOWN))
    check.same("native: a hello of an agency unknown", refused[:5], native.MAGIC + b"\1")
    client = native.Client(address, agency, whole)

    def tell(kind, body=b""):
        client.link.send(native.frame(kind, body))
        return client.receive()

    def batch(sequence, *bets):
        return tell(native.BATCH, native.batch_body(sequence, bets))

    def rejected(sequence, code, answer):
        kind, body = answer
        return kind == native.REJECT and struct.unpack_from(">QH", body) == (sequence, code) and bool(body[10:].decode())

    ack = lambda next_: (native.ACK, struct.pack(">Q", next_))  # noqa: E731
    check.same("native: a bad bet is code 4", rejected(0, 4, batch(0, GOOD, BAD)), True)
    check.same("native: no bets is code 4", rejected(0, 4, batch(0)), True)
    check.same("native: its number is expected next", batch(0, GOOD), ack(1))
    check.same("native: the same batch again is acknowledged", batch(0, GOOD), ack(1))
    check.same("native: other bets under its number are code 9", rejected(0, 9, batch(0, GOOD, GOOD)), True)
    check.same("native: behind a conflict its number comes again first", batch(0, GOOD), ack(1))
    client.link.send(b"".join(native.frame(native.BATCH, native.batch_body(*pair)) for pair in IN_FLIGHT))
    check.same("native: a reject among batches in flight", rejected(1, 4, client.receive()), True)
    while (answer := client.receive()) == ack(2):
        pass
    check.same("native: what was above it counts only when its number has come again", answer, ack(3))
    for what, code, broken in (
        ("a gap", 3, native.frame(native.BATCH, native.batch_body(7, [GOOD]))),
        ("an unknown kind", 1, native.frame(0x44)),
        ("a batch cut short", 1, native.frame(native.BATCH, native.batch_body(3, [GOOD])[:-3])),
        ("a wrong checksum", 2, native.frame(native.FINISH)[:-1] + b"!"),
        ("a length over the limit", 6, struct.pack(">I", TOO_LONG)),
    ):
        other = native.Client(address, agency, whole)
        other.link.send(broken)
        kind, body = other.receive()
        check.same(f"native: {what} is error {code}, and closes", (kind, body[:2]), (native.ERROR, struct.pack(">H", code)))
        check.same(f"native: nothing follows {what}", closes(other.link), b"")
    check.same("native: the finish", tell(native.FINISH), (native.FINISHED, struct.pack(">QQ", 3, 3)))
    check.same("native: the finish again", tell(native.FINISH), (native.FINISHED, struct.pack(">QQ", 3, 3)))
    check.same("native: a bet after the finish is code 5", rejected(3, 5, batch(3, GOOD)), True)
    client.close()


def check_echo(address, check):
    for name, ask, line in (
        ("a line", echo.line, b"Hello Server\n"),
        ("an unfinished line and a half-close", echo.half_closed, b"Hello"),
        ("an unfinished line and silence", echo.silent, b"Hello"),
        ("digits and a half-close", echo.half_closed, b"123\n"),
        ("digits and silence", echo.silent, b"123\n"),
        ("bytes that are no text", echo.line, b"\xfe\x80\n"),
        ("a half-close at once", echo.half_closed, b""),
    ):
        check.same(f"echo: {name}", ask(address, line), line)


def check_early_queries(address, check):
    link = Link(address)
    link.send(text.frame("GET_WINNERS|1") * 2)
    answers_ = [text.receive(link), text.receive(link)]
    check.same("text: queries before the draw", answers_, ["ERROR_LOTTERY_HASNT_ENDED"] * 2)
    link.close()
    for frame in (binary.type_first, binary.length_first):
        link = Link(address)
        link.send(frame(binary.QUERY, struct.pack(">I", 2)) * 2)
        check.same("binary: queries before the draw", link.exactly(2), b"\1\1")
        link.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", required=True, help="HOST:PORT")
    parser.add_argument("--early-rejects", action="store_true", help="only: the hub answers early queries with 'not yet'")
    options = parser.parse_args()
    host, port = options.server.rsplit(":", 1)
    address, check = (host, int(port)), Checks()
    if options.early_rejects:
        check_early_queries(address, check)
        return 1 if check.failed else 0
    check_csv(address, check)
    check_case_id(address, check, 1)
    check_text(address, check, 2)
    check_key_value(address, check, 3)
    check_binary(address, check, 4, binary.type_first, "binary")
    check_binary(address, check, 5, binary.length_first, "binary, length first")
    check_binary_headers(address, check)
    check_native(address, check, 6)
    check_echo(address, check)
    return 1 if check.failed else 0


if __name__ == "__main__":
    sys.exit(main())
