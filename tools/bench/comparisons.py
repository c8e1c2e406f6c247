"""What is compared with what, and how often: the hub, the raw floor and Redis in turns."""

import dataclasses
import statistics

from programs import Failure, Side

# The largest run: more would not fit modest disks.
BETS_MAX = 150_000_000
BETS_OF_A_LONG_RUN = 20_000_000
# No bet of the course's data, nor of `.data`, is on it.
LOSING_NUMBER = 4_000_000_000


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two sides, and the ratio of their rates that is asked for (none: only told).

    `bets` is how many each run sends; where it is left out, a run takes about as long as was asked for.
    """

    key: str
    what: str
    other: str
    hub: Side
    against: Side
    goal: float | None
    panel: str
    bets: int | None = None


@dataclasses.dataclass
class Result:
    """What came of a comparison: the ratio of each pair, and both sides' runs."""

    comparison: Comparison
    ratios: list
    hub: list
    against: list

    def median(self):
        return statistics.median(self.ratios)

    def figure(self, side, name):
        """The median of one figure over a side's runs; None where it is not told."""
        values = [run[name] for run in (self.hub if side == "hub" else self.against) if name in run]
        return statistics.median(values) if values else None


FLOOR, REDIS, BINARY = "the raw floor", "Redis", "`binary`"


def comparisons():
    """Every comparison, in the order in which they are shown."""
    always = {"sync": True}
    lockstep = {"window": 1}
    thousand = {"connections": 1000, "window": 1, "agencies": 5}
    at_once = {"separately": False}
    found = [
        versus_floor("window", "64 in flight, no fsync", {}, 0.90),
        dataclasses.replace(
            versus_floor("sustained", "64 in flight, no fsync, 100 million bets", {}, None), bets=100_000_000
        ),
        versus_floor("at-once", "64 in flight in one write, no fsync", at_once, None),
        versus_floor("window-always", "64 in flight, `always`", always, 0.70),
        versus_floor("at-once-always", "64 in flight in one write, `always`", always | at_once, None),
        versus_floor("lockstep", "lockstep, no fsync", lockstep, 0.87),
        versus_floor("lockstep-always", "lockstep, `always`", always | lockstep, 0.65),
        versus_floor("thousand", "1,000 connections in lockstep, no fsync", thousand, None),
        versus_floor("thousand-always", "1,000 connections in lockstep, `always`", always | thousand, None),
    ]
    for dialect, goal in [("native", 0.90), ("case-id", None), ("text", 0.30), ("key-value", 0.30), ("csv", 0.30)]:
        what = f"`{dialect}`, 64 in flight, `always`"
        hub = Side(sync=True, protocol=dialect)
        found.append(Comparison(dialect, what, BINARY, hub, Side(sync=True), goal, "share"))
    for key, what, side in [("watched", "no fsync", Side()), ("watched-always", "`always`", Side(sync=True))]:
        what = f"64 in flight, {what}, a scraper a second and ten viewers"
        found.append(Comparison(key, what, "no viewer", dataclasses.replace(side, watched=True), side, 0.98, "share"))
    quiet = Side(logging="ERROR")
    found.append(Comparison("logging", "log at INFO, no fsync", "log at ERROR", Side(), quiet, 0.90, "share"))
    found += [
        versus_redis("redis", "64 in flight, no fsync", {}, None),
        versus_redis("redis-always", "64 in flight, `always`", always, None),
        versus_redis("redis-thousand-always", "1,000 connections in lockstep, `always`", always | thousand, 5),
    ]
    return found


def versus_before():
    """The hub against an earlier build of it, wherever the other comparisons load the hub alone."""
    alone = [c for c in comparisons() if c.bets is None and not c.hub.watched]
    sides = {c.hub: (c.key, c.what) for c in reversed(alone)}
    return [
        Comparison(key, what, "the build before", hub, dataclasses.replace(hub, program="before"), 0.98, "share")
        for hub, (key, what) in reversed(sides.items())
    ]


def versus_floor(key, what, load, goal):
    return Comparison(key, what, FLOOR, Side(**load), Side("floor", **load), goal, "share")


def versus_redis(key, what, load, goal):
    return Comparison(key, what, REDIS, Side(**load), Side("redis", **load), goal, "times")


def measure(programs, comparison, pairs, seconds, say):
    """Runs both sides in turns, each first in every other pair, for about `seconds` a run."""
    sizes = run_sizes(programs, comparison, seconds)
    result = Result(comparison, [], [], [])
    for pair in range(pairs):
        order = [comparison.hub, comparison.against]
        runs = {side: programs.run(side, sizes[side]) for side in (order if pair % 2 == 0 else order[::-1])}
        hub, against = runs[comparison.hub], runs[comparison.against]
        result.hub.append(hub)
        result.against.append(against)
        result.ratios.append(hub["million_bets_per_second"] / against["million_bets_per_second"])
    say(f"{comparison.what}, of {comparison.other}: {result.median():.2f} ({spread(result.ratios)})")
    return result


def run_sizes(programs, comparison, seconds):
    """How many bets each side is sent: the same where both do the same work, which Redis does not."""
    sides = (comparison.hub, comparison.against)
    if comparison.bets:
        return dict.fromkeys(sides, comparison.bets)
    if comparison.panel == "share":
        return dict.fromkeys(sides, calibrated(programs, comparison.hub, seconds))
    return {side: calibrated(programs, side, seconds) for side in sides}


def calibrated(programs, side, seconds):
    """How many bets take about `seconds`: found by growing runs, so that slow disks do not wait long."""
    bets = side.smallest()
    while True:
        took = programs.run(side, bets)["seconds"]
        if took >= seconds / 8 or bets >= BETS_MAX:
            wanted = int(bets * seconds / max(took, 1e-3))
            return max(side.smallest(), min(wanted, BETS_MAX))
        bets = min(BETS_MAX, int(bets * min(16, max(2, seconds / 4 / max(took, 1e-3)))))


def spread(values):
    return f"{min(values):.2f} to {max(values):.2f}"


def memory(programs, small, large):
    """Peak memory of the hub after `large` bets, over that after `small`.

    No bet wins: winners are kept in memory, and a file that is sent a thousand times has a thousand times as many.
    """
    losing = Side(winning_number=LOSING_NUMBER)
    peaks = [programs.run(losing, bets)["server_peak_kib"] for bets in (small, large)]
    if peaks[0] == 0:
        raise Failure("the hub's memory could not be read")
    return {"small": small, "large": large, "small_kib": peaks[0], "large_kib": peaks[1]}


def idle(programs, connections):
    """What each of so many idle connections costs the hub, in bytes of its own memory."""
    figures = programs.run(Side(agencies=5, connections=5), 1_000_000, ["--idle", connections])
    return {"connections": connections, "bytes": figures["idle_bytes_per_connection"]}


def sizes(programs, say, bets_most, connections_most):
    """Cost against size: more bets on one connection, and more connections in lockstep."""
    rows = {"bets": [], "connections": []}
    for size in powers_of_ten(10_000, bets_most):
        for sync in (False, True):
            side = Side(sync=sync, winning_number=LOSING_NUMBER)
            rows["bets"].append(sized(programs, say, "bets", size, side, size))
    for size in powers_of_ten(1, connections_most):
        for sync in (False, True):
            side = Side(sync=sync, connections=size, window=1, agencies=min(size, 5))
            rows["connections"].append(sized(programs, say, "connections", size, side, calibrated(programs, side, 2)))
    return rows


def sized(programs, say, name, size, side, bets):
    """The medians of three runs, or of one that takes long."""
    runs = [programs.run(side, bets) for _ in range(1 if bets > BETS_OF_A_LONG_RUN else 3)]
    figures = {key: statistics.median(run[key] for run in runs) for key in runs[0] if key != "protocol"}
    say(f"{size:,} {name}: {figures['million_bets_per_second']} M/s, {figures['server_peak_kib']:,.0f} KiB")
    return {"size": size, "sync": side.sync, **figures}


def powers_of_ten(first, most):
    while first <= most:
        yield first
        first *= 10
