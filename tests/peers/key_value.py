"""A client of `key-value`: a u32 length, then `KEY:VALUE` pairs between bars, ended by a line feed."""

import struct

from link import Link


def escape(text, specials):
    return "".join("\\" + letter if letter in specials else letter for letter in text)


def pairs(text):
    """The pairs of a payload without its line feed, as a dict; a backslash takes the next letter as it is."""
    fields, field, letters = [], "", iter(text)
    for letter in letters:
        if letter == "\\":
            field += next(letters)
        elif letter == "|":
            fields, field = fields + [field], ""
        else:
            field += letter
    return dict(field.split(":", 1) for field in fields + [field])


def bet_fields(agency, bet):
    return {
        "NOMBRE": bet.first,
        "APELLIDO": bet.last,
        "DOCUMENTO": bet.document,
        "NACIMIENTO": bet.birthdate,
        "NUMERO": bet.number,
        "AGENCY_ID": agency,
    }


def barred(agency, bet):
    """A bet as the running clients say it: a list of pairs, its separators escaped once more to be a value."""
    inner = "|".join(f"{key}:{escape(str(value), '|:' + chr(92))}" for key, value in bet_fields(agency, bet).items())
    return escape(inner, "|\\")


def colons(agency, bet):
    """A bet as the documents print it: pairs joined by colons, only bars in a value escaped."""
    return ":".join(f"{key}:{escape(str(value), '|')}" for key, value in bet_fields(agency, bet).items())


def frame(payload):
    data = payload.encode()
    return struct.pack(">I", len(data)) + data


def batch_bytes(agency, bets, style=barred):
    values = [f"|BET_{index}:{style(agency, bet)}" for index, bet in enumerate(bets, 1)]
    return frame(f"BATCH_SIZE:{len(bets)}{''.join(values)}\n")


def receive(link):
    (size,) = struct.unpack(">I", link.exactly(4))
    payload = link.exactly(size).decode()
    if not payload.endswith("\n"):
        raise RuntimeError(f"no line feed at the end of {payload!r}")
    return pairs(payload[:-1])


class Client:
    finish_action = "FINISH_BETTING"

    def __init__(self, address, agency, cut, style=barred):
        self.agency, self.link, self.style = agency, Link(address, cut), style

    def upload(self, batches):
        for batch in batches:
            self.link.send(batch_bytes(self.agency, batch, self.style))
            answer = receive(self.link)
            if answer["STATUS"] != "SUCCESS" or "MESSAGE" not in answer:
                raise RuntimeError(f"the batch was answered {answer}")

    def finish(self):
        self.link.send(frame(f"ACTION:{self.finish_action}|AGENCY_ID:{self.agency}\n"))

    def winners(self):
        answer = receive(self.link)
        if answer["STATUS"] != "SUCCESS":
            raise RuntimeError(f"the finish was answered {answer}")
        if extra := self.link.rest():
            raise RuntimeError(f"more after the winners: {extra!r}")
        return answer["WINNERS"].split(",") if answer["WINNERS"] else []

    def close(self):
        self.link.close()


def colon(address, agency, cut):
    """The client of the documents: colons inside a bet, and the other name of the finish."""
    client = Client(address, agency, cut, style=colons)
    client.finish_action = "BETTING_FINISHED"
    return client
