"""What holds for every script of tools/, and what tools/entrega.sh lays out."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Scripts(unittest.TestCase):
    def test_every_posix_script_is_read_by_the_strictest_shell_here(self):
        shells = [shell for shell in ("sh", "dash", "bash") if shutil.which(shell)]
        scripts = [script for script in (ROOT / "tools").glob("*.sh") if "bash" not in script.read_text().split("\n")[0]]
        self.assertGreater(len(scripts), 6)
        for script in scripts:
            for shell in shells:
                done = subprocess.run([shell, "-n", script], capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, f"{shell}: {script}: {done.stderr}")

    def commands(self):
        """Each script as it is called: files that begin with #!, the others are read by these. And tools/bench."""
        scripts = sorted(path.name for path in (ROOT / "tools").glob("*.sh") if path.read_text().startswith("#!"))
        self.assertGreater(len(scripts), 9)
        return {name: ["sh", f"tools/{name}"] for name in scripts} | {"bench": [sys.executable, "-B", "tools/bench"]}

    def test_every_script_answers_h_and_refuses_what_it_does_not_know_in_one_line(self):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            shutil.copytree(ROOT / "tools", root / "tools", ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copy(ROOT / "Makefile", root)
            (root / ".data").mkdir()
            before = sorted(root.rglob("*"))
            for name, command in self.commands().items():
                for argument in ("-h", "--help", "--nada", "-z"):
                    with self.subTest(script=name, argument=argument):
                        done = subprocess.run([*command, argument], cwd=root, capture_output=True, text=True)
                        if argument in ("-h", "--help"):
                            self.assertEqual((done.returncode, done.stderr), (0, ""))
                            self.assertIn(name, done.stdout, "its usage")
                        else:
                            self.assertEqual((done.returncode, done.stdout), (2, ""))
                            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
                            self.assertIn(argument, done.stderr)
                        self.assertEqual(sorted(root.rglob("*")), before, "it leaves nothing")

    def test_what_make_is_given_reaches_a_script_as_it_is(self):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(ROOT / "Makefile", folder)
            (pathlib.Path(folder) / "tools").mkdir()
            for name in ("demo", "demo_cluster", "compose"):
                (pathlib.Path(folder) / f"tools/{name}.sh").write_text("printf '%s\\n' \"$#\" \"$1\" \"$DATA\" \"$BETS\"\n")
            cargo = pathlib.Path(folder) / "cargo"
            cargo.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
            cargo.chmod(0o755)
            environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "BETS")}
            environment["PATH"] = f"{folder}:{environment['PATH']}"
            for target, given, last in (("demo", "DATA=it's \"a\" b", ["0", "", "it's \"a\" b", ""]), ("demo-cluster", "BETS=7", ["0", "", "", "7"]),
                                        ("docker-compose-logs", "COMPOSE_FILE=a b.yaml", ["3", "a b.yaml", "", ""]),
                                        ("client", "DATA=it's b", ["--data", "it's b"]), ("server", "STORE=it's b", ["--store", "it's b"])):
                with self.subTest(target=target):
                    done = subprocess.run(["make", "--no-print-directory", "-s", target, given], cwd=folder, env=environment, capture_output=True, text=True)
                    self.assertEqual((done.returncode, done.stdout.splitlines()[-len(last):]), (0, last), done.stderr)

    def test_a_cdpath_of_the_environment_leads_no_script_astray(self):
        for script in sorted((ROOT / "tools").glob("*.sh")):
            text = script.read_text()
            if text.startswith("#!") and 'cd "' in text:
                with self.subTest(script=script.name):
                    self.assertIn("\nunset CDPATH", text.partition('cd "')[0])
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(["sh", "tools/generar-compose.sh", f"{folder}/c.yaml", "0"], cwd=ROOT, capture_output=True, text=True,
                                  env=os.environ | {"CDPATH": "."})
            self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_what_is_removed_at_the_end_is_also_removed_at_each_signal_that_ends_a_script(self):
        traps = {script.name: re.findall(r"(?m)^ *trap .* ([A-Z]+)$", script.read_text()) for script in (ROOT / "tools").glob("*.sh")}
        cleaning = {name: signals for name, signals in traps.items() if "EXIT" in signals}
        self.assertGreater(len(cleaning), 6)
        for name, signals in cleaning.items():
            self.assertEqual(signals[:5], ["EXIT", "HUP", "INT", "PIPE", "TERM"], name)

    def test_an_argument_too_many_is_refused(self):
        for script, arguments in (("certificados.sh", ["a", "b"]), ("run_local_test.sh", ["a", "b"]),
                                  ("validar-echo-server.sh", ["-v", "b"]), ("preparar.sh", ["a", "b"]),
                                  ("entrega.sh", ["a", "b"]), ("demo.sh", ["a"])):
            with self.subTest(script=script), tempfile.TemporaryDirectory() as folder:
                done = subprocess.run(["sh", ROOT / "tools" / script, *arguments], cwd=folder, capture_output=True, text=True)
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
                self.assertEqual(os.listdir(folder), [])

    def test_the_makefile_names_each_target_that_the_course_uses(self):
        listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for target in ("demo", "test", "docker-compose-up", "docker-compose-logs", "docker-compose-down", "docker-image",
                       "build"):
            self.assertRegex(listed, rf"(?m)^  {target} +\S")


class EchoCheck(unittest.TestCase):
    def test_the_reasons_come_behind_what_the_file_of_standard_error_has(self):
        with tempfile.TemporaryDirectory() as folder:
            docker = pathlib.Path(folder) / "docker"
            docker.write_text("#!/bin/sh\necho no network >&2\nexit 1\n")
            docker.chmod(0o755)
            said = pathlib.Path(folder) / "said"
            said.write_text("before\n")
            with said.open("a") as output:
                done = subprocess.run(["sh", ROOT / "tools/validar-echo-server.sh", "-v"], stdout=output, stderr=output,
                                      env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"})
            self.assertEqual(done.returncode, 1)
            self.assertRegex(said.read_text(), r"\Abefore\nno network\nsent to server:[\s\S]*make docker-compose-up[^\n]*\n[^\n]*\| result: fail\n\Z")

    def port_asked(self, logged, check="# config.ini\nSERVER_PORT = 4000\n# default\nAGENCIES = 5", container=True, code=0):
        """The port that is asked where the container's log and its --check are these, or, without a container, those of a
        new one; nothing where none is asked."""
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            (folder / "logged").write_text(logged)
            docker = folder / "docker"
            docker.write_text(f"""#!/bin/sh
case $1 in
    logs) cat '{folder}/logged' ;;
    exec) {str(container).lower()} && echo '{check}' ;;
    image) ;;
    run)
        for last; do :; done
        [ "$last" = --check ] || {{ echo "$last" >'{folder}/port'; exit; }}
        echo '{check}'
        exit {code} ;;
    *) exit 1 ;;
esac
""")
            docker.chmod(0o755)
            subprocess.run(["sh", ROOT / "tools/validar-echo-server.sh"], capture_output=True,
                           env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"})
            asked = folder / "port"
            return asked.read_text().strip() if asked.exists() else None

    def test_the_port_is_the_one_that_the_running_server_listens_on(self):
        start = "2026-01-02 03:04:05 INFO     action: listen | result: success | address: "
        other = "2026-01-02 03:04:06 INFO     action: accept_connections | result: in_progress\n"
        self.assertEqual(self.port_asked(f"{start}0.0.0.0:12345\n{other}"), "12345")
        self.assertEqual(self.port_asked(f"{start}0.0.0.0:12345\n{other}{start}[::]:40123\n{other}"), "40123")
        for nothing in ("", other, "Error: No such container: server\n"):
            self.assertEqual(self.port_asked(nothing), "4000", nothing)

    def test_without_a_container_the_port_is_that_of_the_file_and_an_unknown_key_does_not_matter(self):
        for code in (0, 2):
            self.assertEqual(self.port_asked("", container=False, code=code), "4000")
        self.assertEqual(self.port_asked("", check="", container=False, code=2), None)


class Dependencies(unittest.TestCase):
    """What deny.toml says, of the locked crates, as far as that needs no database."""

    def setUp(self):
        self.deny = tomllib.loads((ROOT / "deny.toml").read_text())
        metadata = subprocess.run(["cargo", "metadata", "--locked", "--offline", "--format-version", "1"], cwd=ROOT,
                                  capture_output=True, text=True)
        if metadata.returncode != 0:
            self.skipTest(f"cargo knows the crates only with a network: {metadata.stderr.strip().splitlines()[0]}")
        self.packages = [package for package in json.loads(metadata.stdout)["packages"] if package["source"]]

    def test_every_licence_is_one_that_is_allowed(self):
        allowed = set(self.deny["licenses"]["allow"])
        for package in self.packages:
            # SPDX: names, AND, OR, WITH and parentheses; a slash is an old OR.
            words = re.findall(r"[()]|[^\s()]+", package["license"].replace("/", " OR ").replace(" WITH ", "-with-"))
            words = [word.lower() if word in ("AND", "OR") else word if word in "()" else str(word in allowed) for word in words]
            self.assertTrue(eval(" ".join(words)), f"{package['name']}: {package['license']}")

    def test_no_locked_crate_is_below_its_floor(self):
        def version(text):
            return [int(part) for part in re.match(r"[\d.]+", text)[0].split(".")]

        banned = dict(ban["crate"].split(":<") for ban in self.deny["bans"]["deny"] if ":" in ban["crate"])
        floors = {name: version(floor) for name, floor in banned.items()}
        locked = {package["name"] for package in self.packages}
        self.assertLessEqual(set(floors), locked, "a floor of a crate that is not there")
        for package in self.packages:
            self.assertGreaterEqual(version(package["version"]), floors.get(package["name"], [0]), package["name"])

    def test_the_manifest_keeps_versions_with_advisories_out(self):
        manifest = tomllib.loads((ROOT / "Cargo.toml").read_text())["dependencies"]
        self.assertEqual(manifest["rustls"]["version"], "0.23.46")
        self.assertEqual((manifest["slab"], manifest["serde_yaml"]), ("0.4.11", "0.9.34"))


class Fuzz(unittest.TestCase):
    def refused(self, **environment):
        # A folder of its own as PATH: cargo-fuzz is missing, whatever is installed here.
        with tempfile.TemporaryDirectory() as folder:
            for tool in ("sh", "dirname", "sed", "grep", "paste"):
                os.symlink(shutil.which(tool), pathlib.Path(folder) / tool)
            done = subprocess.run([shutil.which("sh"), "tools/fuzz.sh"], cwd=ROOT, capture_output=True, text=True,
                                  env={"PATH": folder, **environment})
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertEqual(done.stderr.count("\n"), 1, "one line")
        return done.stderr

    def test_what_is_missing_or_wrong_is_said_in_one_line(self):
        self.assertIn("cargo install cargo-fuzz", self.refused())
        self.assertIn("there is no target engin; there are binary", self.refused(FUZZ_TARGET="engin"))
        self.assertIn("FUZZ_SECONDS is '1h'", self.refused(FUZZ_SECONDS="1h"))


def lay_out(folder, home=None):
    return subprocess.run(["sh", "tools/entrega.sh", folder], cwd=ROOT, capture_output=True, text=True,
                          env={**os.environ, "HOME": home} if home else None)


class Entrega(unittest.TestCase):
    """One delivery, which takes seconds to write: each test has it as it was written."""

    @classmethod
    def setUpClass(cls):
        holder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(holder.cleanup)
        cls.folder = pathlib.Path(holder.name) / "to hand in"
        # A home without a git configuration: the author's name is not known.
        with tempfile.TemporaryDirectory() as home:
            cls.done = lay_out(cls.folder, home)

    def setUp(self):
        self.assertEqual(self.done.returncode, 0, self.done.stderr)
        self.git("checkout", "--force", "--quiet", "ej8")
        self.git("clean", "--force", "-d", "-x", "--quiet")

    def git(self, *words):
        return subprocess.run(["git", *words], cwd=self.folder, capture_output=True, text=True, check=True).stdout

    def test_each_branch_is_whole_and_its_clients_do_what_the_exercise_says(self):
        modes = {}
        for n in range(1, 9):
            self.git("checkout", "--quiet", f"ej{n}")
            self.assertEqual(self.git("status", "--porcelain"), "")
            links = [path for path in self.folder.rglob("*") if path.is_symlink()]
            self.assertEqual(links, [])
            subprocess.run(["bash", "generar-compose.sh", "docker-compose-dev.yaml", "2"], cwd=self.folder, check=True)
            text = (self.folder / "docker-compose-dev.yaml").read_text()
            self.assertIn('source: "./server/config.ini"', text)
            self.assertIn('source: "./client/config.yaml"', text)
            [modes[n]] = {line.split()[-1] for line in text.splitlines() if "CLI_MODE" in line}
            # What the operator's compose file has besides is not in that of the course.
            self.assertNotRegex(text, "ports:|STATUS|9100|healthcheck|condition")
            self.assertEqual(text.count("    depends_on:\n      - server\n"), 2)
            config = (self.folder / "client/config.yaml").read_text()
            self.assertIn(f"\nmode: {modes[n]}\n", config)
            self.assertIn('\nserver:\n  address: "server:12345"\n', config)
        self.assertEqual(list(modes.values()), ["echo"] * 4 + ["bet"] + ["agency"] * 3)

    def test_each_dockerfile_ends_in_its_own_program_and_shares_what_is_before(self):
        server, client = ((self.folder / name / "Dockerfile").read_text() for name in ("server", "client"))
        self.assertIn('ENTRYPOINT ["/usr/local/bin/server"]', server)
        self.assertNotIn("bin/client\"]", server)
        self.assertIn('ENTRYPOINT ["/usr/local/bin/client"]', client)
        self.assertNotIn("bin/server\"]", client)
        shared = server.index("AS server")
        self.assertEqual(server[:shared], client[:shared])

    def test_a_clone_that_converts_line_ends_has_every_file_as_it_is_here(self):
        clone = self.folder.with_name("clone")
        for branch in ("ej1", "ej8"):
            shutil.rmtree(clone, ignore_errors=True)
            subprocess.run(["git", "clone", "--quiet", "--branch", branch, "-c", "core.autocrlf=true", self.folder, clone], check=True)
            self.git("checkout", "--quiet", branch)
            files = self.git("ls-files", "-z").split("\0")[:-1]
            self.assertIn("fuzz/corpus/text/bets_after_the_draw", files)
            for file in files:
                # Not assertEqual: a difference would print two whole files.
                self.assertTrue((clone / file).read_bytes() == (self.folder / file).read_bytes(), f"{branch}: {file}")
        self.assertIn(b"\r\n", (clone / ".data/agency-1.csv").read_bytes())
        self.git("add", "--renormalize", ".")
        self.assertEqual(self.git("status", "--porcelain"), "", "no file is another in git than in the work tree")

    def test_a_folder_that_holds_something_is_refused_and_kept(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            (folder / "mine").write_text("mine")
            done = lay_out(folder)
            self.assertEqual(done.returncode, 2)
            self.assertIn("not empty", done.stderr)
            self.assertEqual([path.name for path in folder.iterdir()], ["mine"])


if __name__ == "__main__":
    unittest.main()
