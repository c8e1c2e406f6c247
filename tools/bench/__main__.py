"""`make bench`, `make bench-size` and `make bench-cluster`: speeds of hubs, written into docs/PERFORMANCE.md.

The hub is compared with the raw floor and Redis, hubs that share a PostgreSQL with a hub over files
and with JetStream.

Only the standard library. Runs alternate, since a shared machine's speed drifts: a ratio of neighbours in time
says more than two rates. Every run's store is checked against what was acknowledged before its rate counts.
"""

import argparse
import pathlib
import resource
import signal
import sys
import time

import cluster
import jetstream
import report
from comparisons import comparisons, idle, measure, memory, sizes, versus_before
from programs import DESCRIPTORS, ROOT, Failure, Programs, bets_file


def main():
    options = arguments()
    # Ended like this too, a run stops what it started and removes what it stored.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: ended by SIGTERM"))
    raise_descriptors()
    if options.job == "cluster" and cluster.missing():
        say(f"{cluster.missing()}: nothing is measured")
        return
    warn_of_memory_disk(options.dir)
    try:
        programs = Programs(options.dir, bets_file())
        machine = report.machine(options.dir, programs)
        if options.job == "size":
            name, found = "sizes", sizes(programs, say, options.bets, options.connections)
            text, pictures = report.size_section(machine, found)
        elif options.job == "cluster":
            name = "cluster"
            text, pictures = shared(options, programs, machine)
        else:
            name = "comparisons"
            text, pictures = compare(options, programs, machine)
        print(text)
        # A few comparisons do not replace all of them.
        if options.write and not options.only and not options.before:
            report.write(ROOT / "docs", name, text, pictures)
    except Failure as failure:
        sys.exit(f"bench: {failure}")


def compare(options, programs, machine):
    if options.before:
        programs.before = options.before.resolve()
    known = versus_before() if options.before else comparisons()
    chosen = [c for c in known if not options.only or c.key in options.only.split(",")]
    if not programs.redis:
        say("redis-server is not installed: its comparisons are left out")
        chosen = [c for c in chosen if c.against.program != "redis"]
    results = [measure(programs, c, options.pairs, options.seconds, say) for c in chosen]
    held = None
    if not options.before and (not options.only or "memory" in options.only):
        held = memory(programs, options.bets // 100, options.bets), idle(programs, options.connections)
    return report.comparison_section(machine, results, held)


def shared(options, programs, machine):
    chosen = cluster.chosen(options.only, say)
    if not chosen:
        raise Failure("no comparison has a key of --only and can be made here")
    with cluster.cluster(programs) as nodes:
        results = [cluster.measure(nodes, pair, options.pairs, options.seconds, say) for pair in chosen]
        nats = jetstream.version() if any(pair.key == "jetstream" for pair in chosen) else None
        return report.cluster_section(machine, nodes.version(), results, nats), {}


class Parser(argparse.ArgumentParser):
    """Refuses in one line, as the scripts do."""

    def error(self, message):
        self.exit(2, f"bench: {message}; see python3 {self.prog} -h\n")


def arguments():
    parser = Parser(prog="tools/bench", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("job", nargs="?", choices=["compare", "size", "cluster"], default="compare")
    parser.add_argument("--dir", default=ROOT / "target/bench", type=pathlib.Path, help="where stores are written")
    parser.add_argument("--pairs", default=5, type=int, help="runs of each side of a comparison")
    parser.add_argument("--seconds", default=2.0, type=float, help="how long a run takes, about")
    parser.add_argument("--only", help="comma-separated keys of comparisons, and `memory`; nothing is written then")
    parser.add_argument("--before", type=pathlib.Path, help="an earlier build's server: compare with it, write nothing")
    parser.add_argument("--bets", default=100_000_000, type=int, help="the largest number of bets")
    parser.add_argument("--connections", default=10_000, type=int, help="the largest number of connections")
    parser.add_argument("--write", action="store_true", help="put the result into docs/PERFORMANCE.md")
    return parser.parse_args()


def raise_descriptors():
    """Ten thousand connections need as many descriptors here and in the programs started from here."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = hard if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS else DESCRIPTORS
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def warn_of_memory_disk(folder):
    folder.mkdir(parents=True, exist_ok=True)
    if report.filesystem(folder) in ("tmpfs", "ramfs"):
        say(f"{folder} is memory, not a disk: fsync costs nothing there; give a disk with --dir")


STARTED = time.monotonic()


def say(text):
    print(f"{time.monotonic() - STARTED:6.0f} s  {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
