"""A client of `text`: a decimal length, a line feed, and the message; a bet is a line of fields between bars."""

import time

from link import Link

# How long a client waits that was told "not yet".
POLL_SECONDS = 0.02


def frame(message):
    data = message.encode()
    return b"%d\n%s" % (len(data), data)


def line(agency, bet):
    return f"{bet.first}|{bet.last}|{bet.document}|{bet.birthdate}|{bet.number}|{agency}"


def receive(link):
    return link.exactly(int(link.line(12))).decode()


class Client:
    """Keeps its connection, or opens one for each message, as the clients that exist do."""

    def __init__(self, address, agency, cut, per_message=False):
        self.address, self.agency, self.cut, self.per_message = address, agency, cut, per_message
        self.link = Link(address, cut)

        self.not_yet = 0

    def ask(self, message):
        if self.link is None:
            self.link = Link(self.address, self.cut)
        self.link.send(frame(message))
        answer = receive(self.link)
        if self.per_message:
            self.close()
        return answer

    def upload(self, batches):
        for number, batch in enumerate(batches):
            # The last line feed is optional; so both are tried.
            end = "\n" if number % 2 else ""
            answer = self.ask("\n".join(line(self.agency, bet) for bet in batch) + end)
            if answer != "ACK":
                raise RuntimeError(f"the batch was answered {answer!r}")

    def finish(self):
        pass  # The first question for the winners is the finish.

    def winners(self):
        while (answer := self.ask(f"GET_WINNERS|{self.agency}")) == "ERROR_LOTTERY_HASNT_ENDED":
            self.not_yet += 1
            time.sleep(POLL_SECONDS)
        if answer.startswith("ERROR"):
            raise RuntimeError(answer)
        rows = [row.split("|") for row in answer.split("\n")] if answer else []
        if any(len(row) != 6 or row[5] != str(self.agency) for row in rows):
            raise RuntimeError(f"winners that are not this agency's: {answer!r}")
        return [row[2] for row in rows]

    def close(self):
        if self.link is not None:
            self.link.close()
        self.link = None


def per_message(address, agency, cut):
    return Client(address, agency, cut, per_message=True)
