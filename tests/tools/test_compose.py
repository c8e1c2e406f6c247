"""What tools/generar-compose.sh, preparar.sh and desempacar.sh write, read as text: no engine is needed here.

Standard library only, so YAML is read by its lines; tests/docker runs the same files through Compose itself.
"""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Compose(unittest.TestCase):
    def setUp(self):
        """A copy of the scripts and the two configuration files, since they are found beside the scripts."""
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.environment = {name: value for name, value in os.environ.items() if name != "STATUS_PORT"}
        self.root = pathlib.Path(holder.name) / "the project"
        shutil.copytree(ROOT / "tools", self.root / "tools")
        for name in ("config.ini", "config.yaml"):
            shutil.copy(ROOT / name, self.root / name)
        (self.root / ".data").mkdir()
        for i in range(1, 21):
            (self.root / f".data/agency-{i}.csv").touch()

    def run_script(self, script, *arguments, **environment):
        command = ["sh", f"tools/{script}", *map(str, arguments)]
        return subprocess.run(command, cwd=self.root, capture_output=True, text=True, env={**self.environment, **environment})

    def generate(self, *arguments, **environment):
        done = self.run_script("generar-compose.sh", "compose.yaml", *arguments, **environment)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        return (self.root / "compose.yaml").read_text()

    def services(self, text):
        """The service blocks by name."""
        body = text.split("\nservices:\n")[1].split("\nnetworks:\n")[0]
        parts = re.split(r"^  (\w+):$", body, flags=re.M)[1:]
        return dict(zip(parts[::2], parts[1::2]))

    def test_no_clients_is_a_server_alone(self):
        text = self.generate(0)
        self.assertEqual(list(self.services(text)), ["server"])
        self.assertIn('LOTTERY_AGENCIES: "0"', text)

    def test_every_client_has_its_name_its_id_and_its_file_alone(self):
        text = self.generate(7)
        services = self.services(text)
        self.assertEqual(list(services), ["server"] + [f"client{i}" for i in range(1, 8)])
        self.assertIn('LOTTERY_AGENCIES: "7"', services["server"])
        for i in range(1, 8):
            block = services[f"client{i}"]
            self.assertIn(f"container_name: client{i}\n", block)
            self.assertIn(f'CLI_ID: "{i}"\n', block)
            self.assertIn("CLI_MODE: agency\n", block)
            self.assertIn("CLI_LINGER: 2s\n", block)
            self.assertIn('source: "./config.yaml"\n', block)
            self.assertEqual(re.findall(r"agency-(\d+)\.csv", block), [str(i)] * 2)
            self.assertNotIn("NOMBRE", block)

    def test_the_project_and_its_network_have_the_names_that_the_course_uses(self):
        text = self.generate(2)
        self.assertRegex(text, r"(?m)^name: tp0$")
        self.assertIn("- subnet: 172.25.125.0/24\n", text)
        for name, block in self.services(text).items():
            self.assertIn(f"container_name: {name}\n", block)
            self.assertIn("networks:\n      - testing_net\n", block)

    MODES = [(3,), (3, "bet"), (3, "echo"), (6, "agency", "mixed")]

    def test_nothing_of_the_configuration_is_copied(self):
        for arguments in self.MODES:
            text = self.generate(*arguments)
            self.assertNotRegex(text, r"expose:|12345")
            self.assertNotRegex(text, r"(?i)level|SERVER_|BACKLOG|LOOP|PERIOD|AMOUNT")
            self.assertNotIn("build:", text)

    def test_only_the_status_is_published_and_only_on_this_machine(self):
        for arguments in self.MODES:
            services = self.services(self.generate(*arguments))
            self.assertIn("      STATUS_ADDRESS: 0.0.0.0:9100\n", services["server"])
            self.assertIn('    ports:\n      - "127.0.0.1:9100:9100"\n    ', services.pop("server"))
            for block in services.values():
                self.assertNotRegex(block, "ports:|STATUS")

    def test_the_published_port_is_chosen_or_none(self):
        for given, written in (("80", "80"), ("65535", "65535"), ("0", "")):
            text = self.generate(2, STATUS_PORT=given)
            self.assertEqual(re.findall(r'ports:\n +- "(.*)"', text), [f"127.0.0.1:{written}:9100"])
        text = self.generate(2, STATUS_PORT="")
        self.assertNotRegex(text, "ports:|STATUS|9100")
        self.assertIn("condition: service_healthy", text)
        for port in ("http", "-1", "65536", "9100-9109", "999999", "0.0.0.0:80"):
            done = self.run_script("generar-compose.sh", "f.yaml", 1, STATUS_PORT=port)
            self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1))
            self.assertIn(f"STATUS_PORT is {port}" if port == "65536" else f"STATUS_PORT is '{port}'", done.stderr)
        self.assertFalse((self.root / "f.yaml").exists())

    def test_every_client_waits_for_the_health_of_the_server(self):
        for arguments in self.MODES:
            services = self.services(self.generate(*arguments))
            # The image has the check; here it is only asked more often.
            self.assertIn("    healthcheck:\n      interval: 1s\n    volumes:", services.pop("server"))
            for block in services.values():
                self.assertRegex(block, r"    depends_on:\n      server:\n        condition: service_healthy\n")

    def test_bet_gives_each_client_one_bet_of_its_own_and_no_data(self):
        services = self.services(self.generate(12, "bet"))
        bets = set()
        for i in range(1, 13):
            block = services[f"client{i}"]
            self.assertIn("CLI_MODE: bet\n", block)
            self.assertNotIn(".data", block)
            bet = dict(re.findall(r'(NOMBRE|APELLIDO|DOCUMENTO|NACIMIENTO|NUMERO): "([^"]*)"', block))
            self.assertEqual(len(bet), 5)
            self.assertRegex(bet["DOCUMENTO"], r"^\d{8}$")
            bets.add(bet["DOCUMENTO"])
        self.assertEqual(len(bets), 12, "every document is another")

    def test_agencies_without_a_file_are_told_of(self):
        (self.root / ".data/agency-2.csv").unlink()
        for arguments, said in [((2,), ".data lacks 1 of the 2 files, from agency-2.csv on"),
                                ((22, "mixed"), ".data lacks 3 of the 22 files, from agency-2.csv on"), ((1,), None),
                                ((22, "bet"), None)]:
            done = self.run_script("generar-compose.sh", "compose.yaml", *arguments)
            self.assertEqual((done.returncode, done.stdout), (0, ""))
            self.assertEqual(done.stderr.count("\n"), 1 if said else 0)
            self.assertIn(said or "", done.stderr)

    def test_without_a_number_there_are_five_clients(self):
        five = [f"client{i}" for i in range(1, 6)]
        for arguments, mode in [((), "agency"), (("echo",), "echo"), (("bet",), "bet"), (("mixed",), "agency")]:
            services = self.services(self.generate(*arguments))
            self.assertEqual(list(services), ["server"] + five)
            self.assertIn(f"CLI_MODE: {mode}\n", services["client5"])
            self.assertEqual("CLI_PROTOCOL" in services["client5"], "mixed" in arguments)

    def labels(self, text):
        """The label of each service's configuration."""
        return {name: re.search(r'^      loteria\.config\.(\w+: "[\d-]+")$', block, flags=re.M)[1]
                for name, block in self.services(text).items()}

    def test_a_label_changes_with_the_configuration_of_its_container_and_with_nothing_else(self):
        for folder in (".", "delivered"):
            if folder != ".":
                for name, program in (("config.ini", "server"), ("config.yaml", "client")):
                    (self.root / program).mkdir()
                    (self.root / name).rename(self.root / program / name)
            configs = {"server": next(self.root.rglob("config.ini")), "client1": next(self.root.rglob("config.yaml"))}
            file = self.root / "docker-compose-dev.yaml"
            self.assertEqual(self.run_script("generar-compose.sh", file.name, 20).returncode, 0)
            written = file.read_text()
            self.assertEqual((self.prepare().stderr, file.read_text()), ("", written))
            for changed, config in configs.items():
                was = config.read_bytes()
                config.write_bytes(was + b"\n")
                self.assertEqual(self.prepare().returncode, 0)
                before, after = self.labels(written), self.labels(file.read_text())
                differ = {name for name in before if before[name] != after[name]}
                self.assertEqual(differ, {name for name in before if name[:6] == changed[:6]})
                self.assertEqual(sum(old != new for old, new in zip(written.splitlines(), file.read_text().splitlines())), len(differ))
                config.write_bytes(was)
            self.prepare()
            self.assertEqual(file.read_text(), written)

    def up(self, error, started="0001-01-01T00:00:00Z", fails=1):
        """tools/compose.sh FILE up, with an engine that fails so often and says this of the server's container."""
        text = self.generate(2)
        engine = self.root / "bin"
        engine.mkdir(exist_ok=True)
        (engine / "docker").write_text(f"""#!/bin/sh
case $* in
    "compose version") ;;
    inspect*) echo '{started} {error}' ;;
    *) echo "$*" >>'{engine}/calls'; [ "$(grep -c . '{engine}/calls')" -gt {fails} ] || exit 7 ;;
esac
""")
        (engine / "docker").chmod(0o755)
        (engine / "calls").write_text("")
        done = self.run_script("compose.sh", "compose.yaml", "up", "-d", PATH=f"{engine}:{os.environ['PATH']}")
        now = (self.root / "compose.yaml").read_text()
        changes = [(old, new) for old, new in zip(text.splitlines(), now.splitlines(), strict=True) if old != new]
        return done, (engine / "calls").read_text().splitlines(), changes

    TAKEN = ["listen tcp4 127.0.0.1:9100: bind: address already in use", "Bind for 127.0.0.1:9100 failed: port is already allocated"]

    def test_a_taken_status_port_is_left_to_the_engine(self):
        for error in self.TAKEN:
            done, calls, changes = self.up(error)
            self.assertEqual((done.returncode, calls), (0, ["compose -f compose.yaml up -d"] * 2))
            self.assertEqual(changes, [('      - "127.0.0.1:9100:9100"', '      - "127.0.0.1::9100"')])
            self.assertEqual(done.stderr.count("\n"), 1)
            self.assertIn("the status port of compose.yaml is taken", done.stderr)

    def test_a_server_that_has_run_keeps_its_container_and_its_bets(self):
        done, calls, changes = self.up(self.TAKEN[0], started="2026-01-02T03:04:05Z")
        self.assertEqual((done.returncode, len(calls), changes), (7, 1, []))
        self.assertIn("the server has bets: free the port", done.stderr)

    def test_other_failures_of_up_are_passed_on(self):
        for error in ("", "no such image"):
            done, calls, changes = self.up(error)
            self.assertEqual((done.returncode, done.stderr, len(calls), changes), (7, "", 1, []))
        done, calls, changes = self.up(self.TAKEN[0], fails=0)
        self.assertEqual((done.returncode, len(calls), changes), (0, 1, []))

    def test_echo_mounts_no_data(self):
        services = self.services(self.generate(2, "echo"))
        self.assertIn("CLI_MODE: echo\n", services["client2"])
        self.assertNotIn(".data", services["client2"])

    def test_mixed_gives_every_dialect_out_and_csv_once(self):
        services = self.services(self.generate(20, "agency", "mixed"))
        spoken = [re.search(r"CLI_PROTOCOL: (\S+)", services[f"client{i}"]).group(1) for i in range(1, 21)]
        self.assertEqual(set(spoken), {"case-id", "text", "key-value", "binary", "csv", "native"})
        self.assertEqual(len(set(spoken[:6])), 6)
        self.assertEqual([i + 1 for i, dialect in enumerate(spoken) if dialect == "csv"], [5])
        self.assertIn('LOTTERY_UNNUMBERED_AGENCIES: "5"\n', services["server"])
        self.assertNotIn("UNNUMBERED", self.generate(4, "mixed"), "none of four speaks csv")
        self.assertNotIn("PROTOCOL", self.generate(4))

    def test_a_file_elsewhere_finds_the_project(self):
        elsewhere = self.root / "else where"
        elsewhere.mkdir()
        done = self.run_script("generar-compose.sh", elsewhere / "compose.yaml", 1)
        self.assertEqual(done.returncode, 0, done.stderr)
        text = (elsewhere / "compose.yaml").read_text()
        self.assertIn(f'source: "{self.root.resolve()}/config.ini"', text)

    def test_a_folder_whose_name_yaml_or_compose_would_read_is_escaped(self):
        odd = self.root.with_name('a "b" $HOME \\n')
        self.root.rename(odd)
        self.root = odd
        self.assertEqual(self.run_script("generar-compose.sh", odd.parent / "elsewhere.yaml", 1).returncode, 0)
        source = 'a \\"b\\" $$HOME \\\\n/config.yaml"'
        self.assertIn(source, (odd.parent / "elsewhere.yaml").read_text())

    def test_the_delivered_layout_is_found(self):
        (self.root / "server").mkdir()
        (self.root / "config.ini").rename(self.root / "server" / "config.ini")
        self.assertIn('source: "./server/config.ini"', self.generate(1))

    def test_wrong_arguments_are_said_in_one_line_and_write_nothing(self):
        for arguments, named in [
            ((), "usage"),
            (("f.yaml", "-1"), "'-1'"),
            (("f.yaml", "253"), "252"),
            (("f.yaml", "1000"), "252"),
            (("f.yaml", "two"), "'two'"),
            (("f.yaml", ""), "N is ''"),
            (("f.yaml", "2", "bets"), "'bets'"),
            (("f.yaml", "2", "bet", "mixed"), "mixed"),
            (("f.yaml", "2", "agency", "mix"), "'mix'"),
            (("f.yaml", "agency", "mix"), "'mix'"),
            (("f.yaml", "agency", "mixed", "2"), "'2'"),
            (("f.yaml", "2", "agency", "mixed", "2"), "usage"),
            (("tools", "2"), "folder"),
            (("nowhere/f.yaml", "2"), "nowhere/f.yaml"),
        ]:
            done = self.run_script("generar-compose.sh", *arguments)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
            self.assertIn(named, done.stderr)
        self.assertFalse((self.root / "f.yaml").exists())

    def test_the_same_arguments_write_the_same_file(self):
        self.assertEqual(self.generate(9, "bet"), self.generate(9, "bet"))
        self.assertEqual(self.generate("03"), self.generate(3))

    def no_data(self):
        data = self.root / ".data"
        for file in data.iterdir():
            file.unlink()
        return data

    def prepare(self):
        return self.run_script("preparar.sh", "docker-compose-dev.yaml")

    def archive(self, *agencies, text="theirs", folder=True):
        """A data set as the course has it, with so many agencies; what its files hold, by name."""
        files = {f"agency-{i}.csv": f"Ana,Paz,{i},1990-01-02,7574\n{text}" for i in agencies}
        with zipfile.ZipFile(self.root / ".data/dataset.zip", "w") as archive:
            for name, content in files.items():
                archive.writestr(f"set/{name}", content)
                for junk in (name, f"._{name}") if folder else ():
                    archive.writestr(f"__MACOSX/set/{junk}", "junk")
            archive.writestr("set/readme.txt", "not a data file")
        return files

    def data(self):
        """The names and contents of the data files, and of those that were put aside."""
        return {file.name: file.read_text() for file in (self.root / ".data").iterdir() if ".csv" in file.name}

    def shipped(self, count):
        """Files that came with the project: git has them as they are here."""
        data = self.no_data()
        files = {f"agency-{i}.csv": f"shipped {i}" for i in range(1, count + 1)}
        for name, content in files.items():
            (data / name).write_text(content)
        git = ["git", "-c", "user.name=x", "-c", "user.email=x@localhost", "-C", self.root]
        for words in (["init", "--quiet"], ["add", "--force", "."], ["commit", "--quiet", "-m", "all"]):
            subprocess.run([*git, *words], check=True)
        return files

    def test_the_data_set_is_unpacked_and_a_compose_file_written_for_its_agencies(self):
        self.no_data()
        files = self.archive(1, 2, 3)
        done = self.prepare()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.data(), files)
        self.assertIn("client3", (self.root / "docker-compose-dev.yaml").read_text())
        self.assertNotIn("client4", (self.root / "docker-compose-dev.yaml").read_text())

    def test_the_data_set_takes_the_place_of_the_files_that_ship_and_this_is_said_once(self):
        shipped = self.shipped(5)
        files = self.archive(1, 2, 3)
        done = self.prepare()
        self.assertEqual(done.returncode, 0, done.stderr)
        aside = {f"{name}.kept": shipped[name] for name in ("agency-4.csv", "agency-5.csv")}
        self.assertEqual(self.data(), files | aside)
        self.assertIn("unpacked 3 files of dataset.zip", done.stderr)
        self.assertIn("agency-4.csv.kept agency-5.csv.kept", done.stderr)
        again = self.prepare()
        self.assertEqual((again.returncode, again.stderr), (0, ""))
        self.assertEqual(self.data(), files | aside)

    def test_shipped_files_that_a_checkout_brings_back_do_not_count(self):
        self.shipped(3)
        files = self.archive(1, 2)
        self.prepare()
        subprocess.run(["git", "-C", self.root, "checkout", "--quiet", "--force", "HEAD"], check=True)
        self.assertEqual(self.data()["agency-1.csv"], "shipped 1")
        done = self.prepare()
        self.assertIn("unpacked 2 files", done.stderr)
        self.assertEqual(self.data(), files | {"agency-3.csv.kept": "shipped 3"})

    def test_what_was_changed_and_committed_after_the_data_set_stays(self):
        self.shipped(3)
        files = self.archive(1, 2)
        self.prepare()
        (self.root / ".data/agency-1.csv").write_text("mine")
        (self.root / ".data/agency-3.csv").write_text("a third")
        git = ["git", "-c", "user.name=x", "-c", "user.email=x@localhost", "-C", self.root]
        subprocess.run([*git, "commit", "--quiet", "--all", "-m", "mine"], check=True)
        for _ in range(2):
            done = self.prepare()
            self.assertIn("agency-1.csv is not as in dataset.zip", done.stderr)
            changed = {"agency-1.csv": "mine", "agency-3.csv": "a third", "agency-3.csv.kept": "shipped 3"}
            self.assertEqual(self.data(), files | changed)

    def test_an_archive_without_the_folder_of_macos_is_unpacked_without_a_warning(self):
        self.no_data()
        files = self.archive(1, 2, folder=False)
        for _ in range(2):
            done = self.prepare()
            self.assertEqual(done.returncode, 0)
            self.assertRegex(done.stderr, r"\A(desempacar: unpacked 2 files .*\n)?\Z")
            self.assertEqual(self.data(), files)

    def test_an_archive_that_is_unpacked_with_a_warning_is_taken(self):
        self.no_data()
        files = self.archive(1, 2, folder=False)
        # Some bytes before the archive: unzip warns, and ends with 1.
        archive = self.root / ".data/dataset.zip"
        archive.write_bytes(b"before" + archive.read_bytes())
        self.assertEqual(self.prepare().returncode, 0)
        self.assertEqual(self.data(), files)

    def test_without_cksum_nothing_is_unpacked(self):
        shipped = self.shipped(2)
        self.archive(1)
        bin = self.root / "bin"
        bin.mkdir()
        for tool in ("sh", "dirname"):
            (bin / tool).symlink_to(shutil.which(tool))
        done = subprocess.run([bin / "sh", "tools/desempacar.sh"], cwd=self.root, capture_output=True, text=True, env={"PATH": str(bin)})
        self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (1, "", 1), done.stderr)
        self.assertIn("cksum", done.stderr)
        self.assertEqual(self.data(), shipped)

    def test_what_was_changed_by_hand_is_not_lost(self):
        self.shipped(2)
        (self.root / ".data/agency-1.csv").write_text("mine")
        files = self.archive(1, 2)
        done = self.prepare()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.data(), files | {"agency-1.csv.kept": "mine"})
        self.assertIn("agency-1.csv.kept", done.stderr)
        # After the data set, too, and then it is what counts, until there is another data set.
        (self.root / ".data/agency-2.csv").write_text("mine as well")
        (self.root / ".data/agency-3.csv").write_text("a third")
        done = self.prepare()
        self.assertIn("agency-2.csv is not as in dataset.zip", done.stderr)
        changed = {"agency-1.csv.kept": "mine", "agency-2.csv": "mine as well", "agency-3.csv": "a third"}
        self.assertEqual(self.data(), files | changed)
        other = self.archive(1, 2, text="another")
        self.prepare()
        kept = {"agency-1.csv.kept": "mine", "agency-1.csv.kept2": files["agency-1.csv"], "agency-2.csv.kept": "mine as well", "agency-3.csv.kept": "a third"}
        self.assertEqual(self.data(), other | kept)

    def test_an_archive_that_is_none_or_has_no_agencies_changes_nothing(self):
        shipped = self.shipped(2)
        for make in (lambda: (self.root / ".data/dataset.zip").write_text("no archive"), self.archive):
            make()
            done = self.prepare()
            self.assertEqual(done.returncode, 1)
            self.assertIn("dataset.zip", done.stderr)
            self.assertEqual(self.data(), shipped)
            self.assertFalse([file for file in (self.root / ".data").iterdir() if "unpack" in file.name])

    def test_a_compose_file_without_a_number_has_the_data_set_unpacked(self):
        self.shipped(5)
        files = self.archive(1, 2, 3, 4, 5)
        done = self.run_script("generar-compose.sh", "compose.yaml")
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        self.assertIn("unpacked 5 files", done.stderr)
        self.assertEqual(self.data(), files)
        self.assertIn("client5", (self.root / "compose.yaml").read_text())

    def test_a_compose_file_that_is_there_stays_as_it_is(self):
        written = "# mine\n      CLI_MODE: agency\n"
        (self.root / "docker-compose-dev.yaml").write_text(written)
        done = self.prepare()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual((self.root / "docker-compose-dev.yaml").read_text(), written)
        self.assertIn("has 1 agencies, .data has files of 20", done.stderr)
        self.assertRegex(done.stderr, r"(?m)^preparar: docker-compose-dev.yaml has no loteria.config labels.* not created again")

    def test_labels_are_renewed_in_a_file_that_keeps_its_mode_and_link(self):
        self.assertEqual(self.prepare().returncode, 0)
        link, target = self.root / "docker-compose-dev.yaml", self.root / "elsewhere.yaml"
        link.rename(target)
        link.symlink_to(target.name)
        target.chmod(0o640)
        before = target.read_text()
        with (self.root / "config.ini").open("a") as config:
            config.write("# changed\n")
        done = self.prepare()
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertTrue(link.is_symlink())
        self.assertEqual(target.stat().st_mode & 0o777, 0o640)
        self.assertNotEqual(target.read_text(), before)
        self.assertEqual(list(self.root.glob("*.part")), [])

    def test_no_data_at_all_is_said(self):
        self.no_data()
        done = self.prepare()
        self.assertEqual(done.returncode, 1)
        self.assertIn("agency-1.csv", done.stderr)
        self.assertFalse((self.root / "docker-compose-dev.yaml").exists())


if __name__ == "__main__":
    unittest.main()
