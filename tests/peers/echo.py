"""The echo exchange: a line comes back as it went, and the hub closes."""

from link import Link, whole


def line(address, text, cut=whole):
    """What comes back for a whole line."""
    link = Link(address, cut)
    link.send(text)
    answer = link.rest()
    link.close()
    return answer


def half_closed(address, text, cut=whole):
    """What comes back for an unfinished line after which the client says no more."""
    link = Link(address, cut)
    link.send(text)
    link.half_close()
    answer = link.rest()
    link.close()
    return answer


def silent(address, text, cut=whole):
    """What comes back for an unfinished line of a client that only waits."""
    return line(address, text, cut)
