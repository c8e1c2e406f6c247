"""`make demo`: the draw, its closing table, and an exit code that tells when something is wrong."""

import csv
import fcntl
import os
import pathlib
import pty
import re
import signal
import subprocess
import tempfile
import termios
import unittest
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
COURSE_DATA = ROOT / os.environ.get("LOTERIA_DATA", "../shared/data")
DIALECTS = ("native", "binary", "text", "key-value", "case-id")
ROW = re.compile(r"(?m)^(\d+) +(\S+) +(\d+) +(\d+) +(\d+)  ([\d ]*)$")


def demo(environment=None, **settings):
    """Runs it with nothing of the caller's environment that the programs would read."""
    clean = {key: value for key, value in os.environ.items()
             if not key.startswith(("CLI_", "LOTTERY_", "STORAGE_", "LIMITS_", "SERVER_", "LOGGING_"))}
    return subprocess.run(["make", "--no-print-directory", "demo", *(f"{key}={value}" for key, value in settings.items())],
                          cwd=ROOT, env=clean | (environment or {}), stdin=subprocess.DEVNULL, capture_output=True, text=True)


class Terminal:
    """The demo on a terminal, in a process group of its own."""

    def __init__(self, test, **settings):
        ours, theirs = pty.openpty()
        environment = os.environ | {key: str(value) for key, value in settings.items()}

        def take_terminal():
            os.setsid()
            # A shell that runs the tests in the background has them ignore it.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.running = subprocess.Popen(["sh", ROOT / "tools" / "demo.sh"], env=environment, stdin=theirs, stdout=theirs,
                                        stderr=theirs, preexec_fn=take_terminal)
        os.close(theirs)
        self.ours, self.text = ours, ""
        test.addCleanup(self.end)

    def end(self):
        if self.running.poll() is None:
            self.running.terminate()
            self.running.wait()
        os.close(self.ours)

    def read(self):
        """More of what it prints; empty at its end."""
        try:
            piece = os.read(self.ours, 65536).decode(errors="replace")
        except OSError:
            piece = ""
        self.text += piece
        return piece

    def wait_for(self, text):
        while text not in self.text:
            if not self.read():
                raise AssertionError(f"{text} is not in {self.text}")

    def type(self, text):
        os.write(self.ours, text)

    def code(self):
        while self.read():
            pass
        return self.running.wait()


def setUpModule():
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet", "--bin", "server", "--bin", "client", "--bin", "datos",
                    "--bin", "loteria"],
                   cwd=ROOT, check=True)


class Demo(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)

    def draw(self, **settings):
        """A demo that must succeed: its rows as agency, dialect, sent, stored, winners, documents."""
        done = demo(**settings)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("action: sorteo | result: success", done.stdout)
        return [(int(row[0]), row[1], *map(int, row[2:5]), row[5].split()) for row in ROW.findall(done.stdout)]

    def agencies(self, *winners, bets=100):
        """Small agency files with so many winners each; the winners' documents."""
        documents = []
        for i, count in enumerate(winners, 1):
            rows = [("Íñigo", "O'Hara", f"{i}{n:07}", "1990-02-03", "7574" if n < count else "12") for n in range(bets)]
            (self.folder / f"agency-{i}.csv").write_text("".join(",".join(row) + "\r\n" for row in rows), newline="")
            documents.append([row[2] for row in rows[:count]])
        return documents

    def test_the_bets_that_come_with_the_project_draw(self):
        rows = self.draw()
        self.assertEqual([row[0] for row in rows], [1, 2, 3, 4, 5])
        for agency, _, sent, stored, winners, documents in rows:
            self.assertEqual(sent, stored)
            self.assertGreater(sent, 1000)
            self.assertEqual(len(documents), winners, f"agency {agency}")
        self.assertIn(0, [row[4] for row in rows], "one agency has no winner")

    def test_it_says_what_goes_on_in_order(self):
        self.agencies(1, 1)
        done = demo(DATA=self.folder)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        lines = done.stdout.splitlines()
        self.assertEqual(lines[0], "building the programs: some minutes the first time")
        self.assertIn("Finished", done.stderr, "cargo's progress is shown")
        self.assertRegex(lines[2], r"^page of the draw: http://127\.0\.0\.1:\d+/$")
        told = [re.fullmatch(r"agency (\d) has uploaded: 100 bets \((\d) of 2\)", line) for line in lines[3:5]]
        self.assertEqual(sorted(match[1] for match in told), ["1", "2"])
        self.assertEqual([match[2] for match in told], ["1", "2"])
        self.assertIn("action: sorteo | result: success", lines[6])

    def test_watch_waits_for_enter_before_the_agencies_and_before_the_end(self):
        self.agencies(1, 1)
        terminal = Terminal(self, DATA=self.folder, WATCH=1)

        def page(path):
            address = re.search(r"page of the draw: (http://\S+)", terminal.text)[1]
            with urllib.request.urlopen(address + path) as answer:
                return answer.read().decode()

        terminal.wait_for("Enter starts the agencies: ")
        self.assertIn("<html", page(""))
        self.assertNotIn("has uploaded", terminal.text)
        terminal.type(b"\n")
        terminal.wait_for("Enter stops the hub, and its page: ")
        self.assertRegex(page("status.json"), r'"winning_number":\s*7574')
        terminal.type(b"\n")
        self.assertEqual(terminal.code(), 0, terminal.text)
        self.assertIn("the hub stopped cleanly", terminal.text)

    def test_ctrl_c_at_a_prompt_of_watch_ends_it(self):
        self.agencies(1)
        terminal = Terminal(self, DATA=self.folder, WATCH=1)
        terminal.wait_for("Enter starts the agencies: ")
        terminal.type(b"\x03")
        self.assertEqual(terminal.code(), 130, terminal.text)

    def test_every_dialect_tells_each_agency_its_own_winners(self):
        documents = self.agencies(2, 0, 3)
        for dialect in DIALECTS:
            with self.subTest(dialect=dialect):
                rows = self.draw(DIALECT=dialect, DATA=self.folder)
                self.assertEqual(rows, [(i, dialect, 100, 100, len(won), won) for i, won in enumerate(documents, 1)])

    def test_csv_names_no_agency_but_loses_no_winners(self):
        documents = self.agencies(1, 1)
        rows = self.draw(DIALECT="csv", DATA=self.folder)
        self.assertEqual(sorted(row[5] for row in rows), sorted(documents))

    def test_mixed_draws_with_every_dialect_at_once(self):
        documents = self.agencies(2, 3, 0, 1, 2, 4)
        rows = self.draw(DIALECT="mixed", DATA=self.folder)
        self.assertEqual([row[5] for row in rows], documents)
        self.assertEqual(len({row[1] for row in rows}), 6)

    def test_another_winning_number_has_other_winners(self):
        self.agencies(2, 3)
        self.assertEqual([row[4] for row in self.draw(DATA=self.folder, WINNING_NUMBER=12)], [98, 97])

    def test_files_are_read_as_the_client_reads_them(self):
        rows = [("Íñigo", "O'Hara, hijo", str(10_000_000 + n), "1990-02-03", "7574" if n < 3 else "12") for n in range(20)]
        quoted = ["".join(f'"{value}"' + ("," if i < 4 else "\r\n") for i, value in enumerate(row)) for row in rows]
        (self.folder / "agency-1.csv").write_text("\ufeff" + "\r\n".join(quoted) + "\r\n", newline="")
        plain = "".join(f"Ana,Paz,{20_000_000 + n},1990-02-03,{'0' * n}7574\n\n" for n in range(3))
        (self.folder / "agency-2.csv").write_text(plain, newline="")
        won = [[row[2] for row in rows[:3]], ["20000000", "20000001", "20000002"]]
        self.assertEqual(self.draw(DATA=self.folder), [(1, "native", 20, 20, 3, won[0]), (2, "native", 3, 3, 3, won[1])])

    def test_wrong_settings_are_refused_by_name(self):
        for settings, named in [({"DIALECT": "morse"}, "DIALECT is 'morse'"), ({"DATA": "/nowhere"}, "DATA"),
                                ({"WATCH": "1"}, "there is no terminal here"), ({"WATCH": "yes"}, "WATCH is 'yes'"),
                                ({"DATA": self.folder}, "agency-1.csv")]:
            done = demo(**settings)
            self.assertEqual(done.returncode, 2)
            self.assertIn(named, done.stderr)

    def test_a_row_that_cannot_be_fails_the_demo_and_is_named(self):
        self.agencies(1, 1)
        with open(self.folder / "agency-2.csv", "a", newline="") as file:
            file.write("Ana,Paz,12,1990-02-31,7\r\n")
        done = demo(DATA=self.folder)
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stderr, r"agency-2\.csv.*101")

    def impostors(self, **programs):
        """An environment in which nothing is built and some programs are shell scripts instead."""
        real = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
        fake = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        (fake / "release").mkdir()
        scripts = {"../cargo": ":", "server": f'exec "{real}/server" "$@"', "client": f'exec "{real}/client" "$@"',
                   "datos": f'exec "{real}/datos" "$@"', "loteria": f'exec "{real}/loteria" "$@"'}
        for name, script in (scripts | programs).items():
            file = fake / "release" / name
            file.write_text(f'#!/bin/sh\nreal="{real}"\n{script}\n')
            file.chmod(0o755)
        return {"CARGO_TARGET_DIR": str(fake), "PATH": f"{fake}:{os.environ['PATH']}"}

    def test_answers_that_are_not_what_the_files_say_fail_the_demo(self):
        self.agencies(1, 2)
        (self.folder / "less.csv").write_text("Ana,Paz,12,1990-02-03,7574\n")
        less = f'[ "$CLI_ID" != 2 ] || export CLI_DATA="{self.folder}/less.csv"; exec "$real/client" "$@"'
        for client, complaint in [(less, "agency-2.csv: 0 bets are the same, 99 missing, 0 extra, 1 different"),
                                  (less, "not what the files say"),
                                  ('"$real/client" "$@" | sed "s/cant_ganadores: 2/cant_ganadores: 3/"', "not what the files say"),
                                  ('"$real/client" "$@"; [ "$CLI_ID" != 1 ] || exit 3', "agency 1 ended with exit code 3")]:
            with self.subTest(client=client):
                done = demo(self.impostors(client=client), DATA=self.folder)
                self.assertNotEqual(done.returncode, 0, done.stdout)
                self.assertIn(complaint, done.stderr)

    def test_a_hub_that_does_not_start_or_ends_too_early_ends_the_demo(self):
        self.agencies(1, 1)
        listens = 'echo "x INFO action: listen | result: success | address: 127.0.0.1:9"'
        for server, complaint in [("echo no luck; exit 74", "did not start"), (f"{listens}; exit 74", "exit code 74")]:
            with self.subTest(server=server):
                done = demo(self.impostors(server=server), DATA=self.folder)
                self.assertNotEqual(done.returncode, 0, done.stdout)
                self.assertIn(complaint, done.stderr)

    def test_a_signal_ends_it_with_every_program_and_leaves_nothing(self):
        self.agencies(1, 1)
        pipe = self.folder / "pipe"
        os.mkfifo(pipe)
        temporary = self.folder / "temporary"
        temporary.mkdir()
        server = f'echo $$ >"{pipe}"; exec "$real/server" "$@"'
        client = f'echo $$ >"{pipe}"; exec sleep 600'
        environment = os.environ | self.impostors(server=server, client=client) | {
            "DATA": str(self.folder), "TMPDIR": str(temporary)}
        # A closed terminal is SIGHUP, on which a hub only reads its certificates again.
        for sent in (signal.SIGTERM, signal.SIGHUP):
            with self.subTest(sent), subprocess.Popen(["sh", ROOT / "tools" / "demo.sh"], env=environment, stdout=subprocess.DEVNULL,
                                                      stderr=subprocess.DEVNULL) as running:
                # Each says its number once it runs: the pipe is read until all three have.
                pids = []
                while len(pids) < 3:
                    pids += map(int, pipe.read_text().split())
                running.send_signal(sent)
                self.assertEqual(running.wait(), 128 + sent)
                self.left(pids, temporary)

    def left(self, pids, temporary):
        """Ends what still runs, so that a failure leaves nothing either."""
        alive = []
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
                alive.append(pid)
            except ProcessLookupError:
                pass
        self.assertEqual((alive, list(temporary.iterdir())), ([], []))

    def test_a_reader_that_closes_its_output_ends_it_with_every_program_and_leaves_nothing(self):
        self.agencies(1, 1)
        gate, temporary = self.folder / "gate", self.folder / "temporary"
        os.mkfifo(gate)
        temporary.mkdir()
        environment = os.environ | self.impostors(server=f'echo $$ >"{self.folder}/pid"; exec "$real/server" "$@"',
                                                  **{"../cargo": f'read -r _ <"{gate}"'})
        environment |= {"DATA": str(self.folder), "TMPDIR": str(temporary)}
        with subprocess.Popen(["sh", ROOT / "tools" / "demo.sh"], env=environment, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True) as running:
            self.assertIn("building", running.stdout.readline())
            running.stdout.close()
            gate.write_text("go\n")
            code = running.wait()
        self.left([int((self.folder / "pid").read_text())], temporary)
        self.assertEqual(code, 141)

    def test_a_target_folder_that_is_relative_is_the_project_s(self):
        self.agencies(1)
        environment = self.impostors()
        environment["CARGO_TARGET_DIR"] = os.path.relpath(environment["CARGO_TARGET_DIR"], ROOT)
        # The demo works in a folder of its own, from which the same path leads elsewhere.
        environment["TMPDIR"] = str(self.folder.joinpath(*["deep"] * len(ROOT.parts)))
        os.makedirs(environment["TMPDIR"])
        done = demo(environment, DATA=self.folder)
        self.assertEqual(done.returncode, 0, done.stderr)

    @unittest.skipUnless((COURSE_DATA / "agency-1.csv").is_file(),
                         "the course's data set is not here; LOTERIA_DATA names its folder")
    def test_the_course_s_data_set_is_stored_as_it_was_sent_and_has_its_known_winners(self):
        rows = self.draw(DATA=COURSE_DATA.resolve(), STORE=self.folder / "store")
        self.assertEqual([row[4] for row in rows], [2, 3, 3, 2, 0])
        stored = {i: [] for i in range(1, 6)}
        with open(self.folder / "store" / "bets.csv", newline="", encoding="utf-8") as file:
            for row in csv.reader(file):
                stored[int(row[0])].append(row[1:])
        self.assertEqual(sum(map(len, stored.values())), 78_697)
        for i, bets in stored.items():
            with open(COURSE_DATA / f"agency-{i}.csv", newline="", encoding="utf-8") as file:
                self.assertEqual(bets, list(csv.reader(file)), f"agency {i}")

    def test_a_server_that_does_not_start_is_told_in_its_own_words_alone(self):
        self.agencies(1)
        said = demo(DATA=self.folder, WINNING_NUMBER="abc").stderr.splitlines()
        self.assertEqual([line.split(" ", 1)[0] for line in said if not line.startswith((" ", "make"))], ["server:", "demo:"], said)

    def test_a_store_that_is_there_is_left_alone(self):
        self.agencies(1)
        (self.folder / "bets.csv").write_text("mine")
        self.assertNotEqual(demo(DATA=self.folder, STORE=self.folder).returncode, 0)
        self.assertEqual((self.folder / "bets.csv").read_text(), "mine")


if __name__ == "__main__":
    unittest.main()
