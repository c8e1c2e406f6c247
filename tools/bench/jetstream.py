"""Three nats-server nodes on this machine, and a JetStream stream that is on all three: the same load as the hubs have."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import time

from programs import Failure, free_port, stopped, wait_for

NODES = 3
# `sync_interval: always` is from 2.10 on.
OLDEST = 2, 10
# As benches/load/jetstream.rs has the name; a subject for each agency.
STREAM = {"name": "bets", "subjects": ["bets.*"], "storage": "file", "num_replicas": NODES}
# Servers elect a leader, and say nothing before.
ANSWER_SECONDS, READY_SECONDS = 1, 60
UNAVAILABLE = 503


def program():
    """The server: what NATS_SERVER names, or an installed one; None where there is none."""
    return os.environ.get("NATS_SERVER") or shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin")


def version():
    """The server's, as people write it; None where there is no server, or what is there does not say."""
    if not program():
        return None
    with contextlib.suppress(OSError):
        said = subprocess.run([program(), "--version"], capture_output=True, text=True, check=False).stdout
        if found := re.search(r"v(\d+\.\d+\S*)", said):
            return found[1]
    return None


def missing():
    """What the servers need and is not here, in words; None: nothing."""
    if not program():
        return "nats-server is not installed (Debian's package nats-server, 2.10 or newer; NATS_SERVER=path names one)"
    found = version()
    if not found:
        return f"{program()} --version names no version of nats-server; set NATS_SERVER to one of 2.10 or newer"
    if tuple(int(number) for number in found.split(".")[:2]) < OLDEST:
        return f"{program()} is version {found}, and `sync_interval: always` needs 2.10 or newer; set NATS_SERVER to one"
    # Go's threads wait for each other in loops, and a real-time thread that loops never makes room for the one that it waits for.
    if os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR):
        return "nats-server hangs under chrt (run --only jetstream without it, on a quiet machine)"
    return None


class JetStream:
    """The servers, which listen on `ports`; an empty stream for each run."""

    def __init__(self, programs, ports, processes):
        self.programs, self.ports, self.processes = programs, ports, processes

    def run(self, side, bets, extra=()):
        """Loads an empty stream, checks what is stored, and returns the generator's figures."""
        self.ask("DELETE")
        answer = self.ask("CREATE", STREAM)
        if "error" in answer:
            raise Failure(f"JetStream makes no stream: {answer['error']}")
        # Its leader takes the messages, and is spared passing them on.
        leader = self.replicated()["cluster"]["leader"]
        figures = self.programs.loaded(side, bets, [self.ports[leader]], self.processes, extra)
        self.check(side, figures)
        return figures

    def check(self, side, figures):
        """A rate counts only if the stream has as many messages as were acknowledged, of each agency."""
        state = self.replicated()["state"]
        each = figures["batches"] // side.agencies
        expected = figures["batches"], {f"bets.{agency}": each for agency in range(1, side.agencies + 1)}
        found = state["messages"], state.get("subjects")
        if found != expected:
            raise Failure(f"{side}: messages in all and of each agency should be {expected}, and are {found}")
        if state["bytes"] < figures["row_bytes"]:
            raise Failure(f"{side}: {figures['row_bytes']} bytes should be stored, and only {state['bytes']} are")

    def replicated(self):
        """What JetStream tells of the stream once all replicas have all of it."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            told = self.ask("INFO", {"subjects_filter": ">"})
            replicas = told.get("cluster", {}).get("replicas", [])
            if len(replicas) == NODES - 1 and all(one["current"] and not one.get("lag") for one in replicas):
                return told
            time.sleep(0.05)
        raise Failure(f"the stream's replicas are still behind after {READY_SECONDS} s: {told}")

    def ask(self, request, question=None):
        """JetStream's answer to a request about the stream, as soon as it has a leader who answers."""
        deadline, said = time.monotonic() + READY_SECONDS, "nothing"
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                said = ask(next(iter(self.ports.values())), f"$JS.API.STREAM.{request}.{STREAM['name']}", question)
                if said.get("error", {}).get("code") != UNAVAILABLE:
                    return said
            time.sleep(0.05)
        raise Failure(f"JetStream does not answer {request} after {READY_SECONDS} s; it said {said}")


def ask(port, subject, question):
    """The answer to one request of a server, over a connection of its own."""
    body = json.dumps(question or {}).encode()
    with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS) as connection, connection.makefile("rb") as answers:
        connection.sendall(b'CONNECT {"verbose":false}\r\nSUB answer 1\r\n')
        connection.sendall(b"PUB %s answer %d\r\n%s\r\n" % (subject.encode(), len(body), body))
        for line in answers:
            if line.startswith(b"MSG "):
                return json.loads(answers.read(int(line.split()[-1])))
            if line.startswith(b"-ERR"):
                raise Failure(f"nats-server: {line.decode().strip()}")
    raise Failure(f"nats-server at port {port} closed instead of answering {subject}")


@contextlib.contextmanager
def nodes(programs):
    """Three servers in a folder of their own, which is removed at the end."""
    if reason := missing():
        raise Failure(reason)
    with tempfile.TemporaryDirectory(prefix="jetstream-", dir=programs.directory) as folder, contextlib.ExitStack() as running:
        folder = pathlib.Path(folder)
        names = [f"node{number}" for number in range(1, NODES + 1)]
        ports, routes = {name: free_port() for name in names}, {name: free_port() for name in names}
        processes, logs = [], [folder / f"{name}.log" for name in names]
        for name, log in zip(names, logs, strict=True):
            file = folder / f"{name}.conf"
            file.write_text(configuration(name, folder / name, ports[name], routes))
            with open(log, "wb") as output:
                processes.append(subprocess.Popen([program(), "-c", file], stdout=output, stderr=subprocess.STDOUT))
            running.enter_context(stopped(processes[-1], log, must_succeed=False))
        for port, process, log in zip(ports.values(), processes, logs, strict=True):
            wait_for(port, process, log)
        yield JetStream(programs, ports, processes)


def configuration(name, store, port, routes):
    """A server's: the defaults, but for what makes an acknowledgement durable."""
    others = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routes.values())
    return (
        f'server_name: {name}\nlisten: "127.0.0.1:{port}"\n'
        # The generator does not answer the server's PINGs: it is never silent for long.
        'ping_interval: "1h"\n'
        f'jetstream {{ store_dir: "{store}", sync_interval: always }}\n'
        f'cluster {{ name: bench, listen: "127.0.0.1:{routes[name]}", routes: [{others}] }}\n'
    )
