"""The bets of an agency: read from its file, made up by a seed, and its winners."""

import csv
import itertools
import random
from typing import NamedTuple

WINNING_NUMBER = 7574


class Bet(NamedTuple):
    first: str
    last: str
    document: str
    birthdate: str
    number: int

    def yyyymmdd(self):
        return int(self.birthdate.replace("-", ""))


def read(path):
    """The bets of an agency file: `first,last,document,birthdate,number`, no header, LF or CRLF."""
    with open(path, newline="", encoding="utf-8") as file:
        return [Bet(*row[:4], int(row[4])) for row in csv.reader(file)]


def batches(bets, size):
    bets = iter(bets)
    while batch := list(itertools.islice(bets, size)):
        yield batch


def winners(bets):
    """The documents of the winning bets, in the order of the bets."""
    return [bet.document for bet in bets if bet.number == WINNING_NUMBER]


FIRST = ("Ana", "José María", "Ñusta", "Zoë", "D'Angelo", "Iñaki", "Lourdes de los Ángeles", "李娜", "Ömer", "X")
LAST = ("Pérez", "O'Higgins", "Núñez", "de la Cruz", "Muñoz-Ibáñez", "Güiraldes", "Saldaña", "Łukasz", "Y")
# What a careless writer of rows or of separators breaks on, and the dialects that can carry each.
AWKWARD = (
    ('Juan "Tito"', ()),
    ("Ana, la menor", ("csv",)),
    ("a:b", ()),
    ("Ana\\", ()),
    ("back\\\\slash\\n", ()),
    ("Ana|María", ("text", "text-per-message")),
    ("A" * 255, ()),
    ("ñ" * 127, ()),
    ("NOMBRE", ()),
)


def generate(agency, count, seed, dialect):
    """`count` bets such as `dialect` can carry, about one in forty a winner, none for the fifth agency."""
    chance = random.Random(f"{seed}/{agency}")
    awkward = [name for name, unfit in AWKWARD if dialect not in unfit and not dialect.endswith("-colon")]
    bets = []
    for index in range(count):
        first, last = chance.choice(FIRST), chance.choice(LAST)
        if index % 10 == 7 and awkward:
            first, last = chance.choice(awkward), chance.choice((last, chance.choice(awkward)))
        # `binary` says a document as a number, so only eight digits come back as they were.
        digits = 8 if dialect.startswith("binary") else chance.choice((1, 7, 8, 8, 8, 9))
        document = f"{chance.randrange(10**digits):0{digits}}"
        date = f"{chance.randint(1900, 9999)}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}"
        number = chance.choice((0, 4294967295, chance.randrange(10000)))
        if number == WINNING_NUMBER:
            number += 1
        if agency != 5 and chance.randrange(40) == 0:
            number = WINNING_NUMBER
        bets.append(Bet(first, last, document, date, number))
    return bets
