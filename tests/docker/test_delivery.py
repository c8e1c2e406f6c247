"""The course's checks, through real containers: what its graders run, exercise by exercise, and some of our own."""

import csv
import os
import re
import unittest

from delivery import BUILD_SECONDS_MAX, NETWORK, ROOT, Delivery, bets, shared, values

delivery: Delivery
COURSE_DATA = ROOT / os.environ.get("LOTERIA_DATA", "../shared/data")
FAILURE = re.compile(r"result: fail")


def setUpModule():
    global delivery
    delivery = shared()


class Case(unittest.TestCase):
    branch = "ej8"

    def setUp(self):
        delivery.switch(self.branch)
        self.addCleanup(delivery.down)

    def start(self, clients, *more):
        delivery.generate(clients, *more)
        delivery.up()

    def no_failure(self, logs):
        failures = [line for lines in logs.values() for line in lines if FAILURE.search(line)]
        self.assertEqual(failures, [])
        self.assertFalse([line for lines in logs.values() for line in lines if "action: exit" in line])

    def all_exit_zero(self, clients):
        for i in range(1, clients + 1):
            self.assertEqual(delivery.exit_code(f"client{i}"), 0, f"client{i}")


class Ej1(Case):
    """The compose file's generator."""

    branch = "ej1"

    def test_any_number_of_clients_runs_under_the_names_expected(self):
        for count in (0, 1, 5):
            with self.subTest(clients=count):
                delivery.configure()
                self.start(count)
                names = delivery.must(["docker", "ps", "--all", "--filter", "label=com.docker.compose.project=tp0",
                                       "--format", "{{.Names}}"]).split()
                self.assertEqual(sorted(names), sorted(["server"] + [f"client{i}" for i in range(1, count + 1)]))
                members = delivery.must(["docker", "network", "inspect", "-f", "{{range .IPAM.Config}}{{.Subnet}}{{end}}", NETWORK])
                self.assertEqual(members.strip(), "172.25.125.0/24")
                self.assertEqual(delivery.must(["docker", "port", "server"]), "", "no port is published")
                delivery.down()

    def test_every_client_plays_its_echo_loop_to_the_end(self):
        delivery.configure(amount=4)
        self.start(3)
        logs, exits = delivery.clients_done(3)
        for i in (1, 2, 3):
            lines = logs[f"client{i}"]
            echoes = values(lines, "receive_message", "msg")
            self.assertEqual(echoes, [f"[CLIENT {i}] Message N°{n}" for n in (1, 2, 3, 4)])
            self.assertEqual(values(lines, "loop_finished", "client_id"), [str(i)])
        self.assertEqual(exits, {f"client{i}": 0 for i in (1, 2, 3)})
        logs = delivery.logs()
        echoed = values(logs["server"], "receive_message", "msg")
        self.assertEqual(sorted(echoed), sorted(f"[CLIENT {i}] Message N°{n}" for i in (1, 2, 3) for n in (1, 2, 3, 4)))
        self.no_failure(logs)


class Ej2(Case):
    """Configuration without a rebuild."""

    branch = "ej2"

    def test_changed_values_hold_without_building_again(self):
        for port, amount, period, level in ((12345, 1, "150ms", "DEBUG"), (23456, 2, "1m30s", "INFO")):
            with self.subTest(port=port):
                delivery.configure(level="DEBUG", port=port, amount=amount, period=period, client_level=level)
                self.start(1)
                logs = delivery.logged("client1", "action: config")
                logs = delivery.logged("server", "action: accept_connections | result: in_progress")
                [line] = [line for line in logs["server"] if "action: config | result: success" in line]
                self.assertIn(f"port: {port} | listen_backlog: 5 | logging_level: DEBUG", line)
                logs = delivery.logged("client1", "action: receive_message")
                [line] = [line for line in logs["client1"] if "action: config | result: success" in line]
                self.assertIn(f"client_id: 1 | server_address: server:{port} | loop_amount: {amount} | "
                              f"loop_period: {period} | log_level: {level}", line)
                running = delivery.must(["docker", "inspect", "-f", "{{.Image}}", "server", "client1"]).split()
                self.assertEqual(running, [delivery.images["server"], delivery.images["client"]])
                delivery.down()

    def test_an_image_holds_its_programs_and_no_other(self):
        for program, programs in (("server", ["loteria", "server"]), ("client", ["client"])):
            listed = delivery.must(["docker", "run", "--rm", "--entrypoint", "ls", f"{program}:latest", "/usr/local/bin"])
            self.assertEqual(listed.split(), programs)

    def test_no_configuration_lies_in_an_image(self):
        for program in ("server", "client"):
            listed = delivery.must(["docker", "run", "--rm", "--user", "0", "--entrypoint", "find", f"{program}:latest", "/", "-xdev",
                                    "-name", "config.ini", "-o", "-xdev", "-name", "config.yaml"])
            self.assertEqual(listed, "")


class Ej3(Case):
    """The echo check."""

    branch = "ej3"

    def verdict(self):
        done = delivery.run(["sh", "validar-echo-server.sh"])
        return done.stdout, done.returncode

    def pretend(self, answer, port=12345):
        """Another server under the name that the check looks for."""
        delivery.must(["docker", "rm", "--force", "server"])
        delivery.must(["docker", "run", "--detach", "--name", "server", "--network", NETWORK, "busybox:latest",
                       "nc", "-ll", "-p", port, "-e", "sh", "-c", answer])
        self.addCleanup(delivery.run, ["docker", "rm", "--force", "server"])

    GOOD = ("action: test_echo_server | result: success\n", 0)
    BAD = ("action: test_echo_server | result: fail\n", 1)

    def test_an_echo_server_passes_at_once_after_it_was_started(self):
        delivery.configure()
        self.start(0)
        self.assertEqual(self.verdict(), self.GOOD)
        self.assertEqual(self.verdict(), self.GOOD, "and again")

    def test_the_port_of_the_configuration_is_asked(self):
        delivery.configure(port=4321)
        self.start(0)
        self.assertEqual(self.verdict(), self.GOOD)

    def test_the_port_is_the_one_that_the_server_reads(self):
        for text in ("[DEFAULT]\nserver_port = 4322\n", "[default]\nSERVER_PORT = '4323'\n", "[DEFAULT]\nSERVER_PORT = +04324\n",
                     "\ufeffServer_Port: 4325\r\n[LIMITS]\r\nECHO = on\r\n",
                     "[OTHER]\nSERVER_PORT = 9\n[DEFAULT]\nSERVER_PORT = 4326\n[MORE]\nSERVER_PORT = 9\n"):
            with self.subTest(text=text):
                (delivery.path / "server" / "config.ini").write_text(text, newline="")
                self.start(0)
                self.assertEqual(self.verdict(), self.GOOD)
                # Another server, which cannot be asked for its configuration: its image is.
                port = int(re.search(r"432\d", text)[0])
                self.pretend("cat", port)
                self.assertEqual(self.verdict(), self.GOOD)
                delivery.must(["docker", "rm", "--force", "server"])
                delivery.down()

    def test_a_port_of_the_environment_is_asked(self):
        delivery.configure(port=4321)
        delivery.generate(0)
        file = delivery.path / "docker-compose-dev.yaml"
        file.write_text(file.read_text().replace("LOTTERY_AGENCIES:", 'SERVER_PORT: "4327"\n      LOTTERY_AGENCIES:'))
        delivery.up()
        self.assertEqual(self.verdict(), self.GOOD)

    def test_a_configuration_that_the_server_refuses_fails_and_is_named(self):
        delivery.configure()
        self.start(0)
        self.pretend("cat")
        (delivery.path / "server" / "config.ini").write_text("[DEFAULT]\nSERVER_PORT = x\n")
        self.assertEqual(self.verdict(), self.BAD)
        self.assertIn("SERVER_PORT", delivery.run(["sh", "validar-echo-server.sh", "-v"]).stderr)

    def test_servers_that_do_not_echo_fail(self):
        delivery.configure()
        self.start(0)
        for answer in ("read line; echo wrong", 'read line; echo "$line more"', 'read line; echo "$line"; echo "$line"',
                       'read line; printf "%s" "$line"', "read line"):
            with self.subTest(answer=answer):
                self.pretend(answer)
                self.assertEqual(self.verdict(), self.BAD)
        self.pretend("cat")
        self.assertEqual(self.verdict(), self.GOOD, "any echo server passes, not only ours")

    def test_no_server_and_no_network_fail(self):
        delivery.configure()
        self.start(0)
        delivery.compose("stop", "-t", "5")
        self.assertEqual(self.verdict(), self.BAD)
        delivery.down()
        self.assertEqual(self.verdict(), self.BAD)


class Ej4(Case):
    """SIGTERM."""

    branch = "ej4"

    def stopped(self, *services):
        """`stop` with a limit after which the engine kills: code 0 says that it was not needed."""
        delivery.compose("stop", "-t", "5", *services)
        for name in services:
            self.assertEqual(delivery.exit_code(name), 0, f"{name} was killed or failed")

    def test_a_server_without_clients(self):
        delivery.configure(level="DEBUG")
        self.start(0)
        logs = delivery.logged("server", "action: accept_connections | result: in_progress")
        self.assertGreaterEqual(len(logs["server"]), 2)
        self.stopped("server")
        logs = delivery.logs()
        self.assertIn("action: shutdown | result: success", logs["server"][-1])
        self.assertRegex("\n".join(logs["server"]), r"action: close_\w+ \| result: success")
        self.no_failure(logs)

    def test_a_client_in_its_loop(self):
        delivery.configure(amount=1000, period="20s")
        self.start(1)
        delivery.logged("client1", "action: receive_message")
        self.stopped("client1")
        self.no_failure(delivery.logs())

    def test_a_server_that_clients_talk_to(self):
        delivery.configure(amount=1000, period="10ms")
        self.start(2)
        delivery.logged("client2", "action: receive_message")
        self.stopped("server")
        self.assertIn("action: shutdown | result: success", delivery.logs()["server"][-1])

    def test_both_at_once(self):
        delivery.configure(amount=1000, period="1s")
        self.start(1)
        delivery.logged("client1", "action: receive_message")
        self.stopped("client1", "server")
        self.no_failure(delivery.logs())


class Ej5(Case):
    """One bet a client."""

    branch = "ej5"

    def test_each_bet_sent_is_the_bet_stored(self):
        for count in (1, 5):
            with self.subTest(clients=count):
                delivery.configure()
                self.start(count)
                logs, exits = delivery.clients_done(count)
                self.assertEqual(exits, {f"client{i}": 0 for i in range(1, count + 1)})
                sent = []
                for i in range(1, count + 1):
                    [document] = values(logs[f"client{i}"], "apuesta_enviada", "dni")
                    [number] = values(logs[f"client{i}"], "apuesta_enviada", "numero")
                    sent.append((document, number))
                logs = delivery.logs()
                stored = list(zip(values(logs["server"], "apuesta_almacenada", "dni"),
                                  values(logs["server"], "apuesta_almacenada", "numero")))
                self.assertEqual(sorted(stored), sorted(sent))
                self.assertEqual(len(set(sent)), count)
                self.no_failure(logs)
                delivery.down()


class Agencies(Case):
    """Exercises 6 to 8: files, batches, the draw."""

    def upload(self, sizes, batch=None, more=()):
        """Agencies of (bets, winners) each, to the draw: what they and the server logged."""
        delivery.configure(batch=batch)
        self.files = {}
        for i, (count, winners) in enumerate(sizes, 1):
            self.files[i] = bets(i, count, winners)
            delivery.data(i, self.files[i])
        self.start(len(sizes), *more)
        logs, exits = delivery.clients_done(len(sizes))
        self.assertEqual(exits, {f"client{i}": 0 for i in range(1, len(sizes) + 1)})
        self.all_exit_zero(len(sizes))
        return logs, delivery.logs()

    def check_batches(self, logs, sizes, batch):
        """Every stored batch is full, but the last one of each agency."""
        counts = [int(count) for count in values(logs["server"], "apuesta_recibida", "cantidad")]
        expected = []
        for count, _ in sizes:
            expected += [batch] * (count // batch) + ([count % batch] if count % batch else [])
        self.assertEqual(sorted(counts), sorted(expected))
        self.assertEqual(sum(counts), sum(count for count, _ in sizes))

    def check_draw(self, client_logs, logs, sizes):
        self.assertEqual(len(values(logs["server"], "apuesta_recibida", "cantidad")) > 0, True)
        draws = [line for line in logs["server"] if "action: sorteo | result: success" in line]
        self.assertEqual(len(draws), 1)
        last_bet = max(i for i, line in enumerate(logs["server"]) if "action: apuesta_recibida" in line)
        self.assertGreater(logs["server"].index(draws[0]), last_bet, "the draw is after every bet")
        for i, (_, winners) in enumerate(sizes, 1):
            told = values(client_logs[f"client{i}"], "consulta_ganadores", "cant_ganadores")
            self.assertEqual(told, [str(winners)], f"client{i}")
        self.no_failure(logs)

    def check_store(self):
        """The stored file, read by the csv module, holds exactly the bets that were sent, each agency's in order."""
        stored = {i: [] for i in self.files}
        with open(delivery.bets_stored(), newline="", encoding="utf-8") as file:
            for row in csv.reader(file):
                stored[int(row[0])].append(tuple(row[1:]))
        self.assertEqual(stored, self.files)


class Ej6(Agencies):
    branch = "ej6"

    def test_batches_are_as_large_as_configured(self):
        for batch in (7, 50):
            with self.subTest(batch=batch):
                sizes = [(103, 1)]
                _, logs = self.upload(sizes, batch)
                self.check_batches(logs, sizes, batch)
                self.no_failure(logs)
                self.check_store()
                delivery.down()

    def test_the_sum_over_several_clients_is_what_they_sent(self):
        sizes = [(200, 0), (1, 0), (62, 1), (63, 2), (620, 3)]
        _, logs = self.upload(sizes)
        self.check_batches(logs, sizes, 62)
        self.no_failure(logs)


class Ej7(Agencies):
    branch = "ej7"

    def test_three_agencies_draw(self):
        sizes = [(40, 2), (90, 0), (10, 10)]
        client_logs, logs = self.upload(sizes, 20)
        self.check_draw(client_logs, logs, sizes)

    def test_five_agencies_draw(self):
        sizes = [(150, 2), (130, 3), (70, 3), (50, 2), (9, 0)]
        client_logs, logs = self.upload(sizes, 11)
        self.check_draw(client_logs, logs, sizes)
        self.check_store()


class Ej8(Agencies):
    branch = "ej8"

    def test_a_fresh_up_after_down_is_a_fresh_draw(self):
        for sizes in ([(400, 5), (300, 1), (900, 0)], [(20, 1), (30, 0), (40, 2)]):
            client_logs, logs = self.upload(sizes)
            self.check_draw(client_logs, logs, sizes)
            self.check_store()
            delivery.down()

    def test_agencies_of_every_dialect_draw_together(self):
        sizes = [(150, 2), (130, 3), (70, 3), (50, 2), (90, 0), (80, 4)]
        client_logs, logs = self.upload(sizes, 20, ("agency", "mixed"))
        self.check_draw(client_logs, logs, sizes)
        self.check_store()

    def test_signals_leave_no_failure_in_the_middle_of_the_uploads(self):
        delivery.configure(batch=1)
        delivery.data(1, bets(1, 20_000, 2))
        self.start(1)
        delivery.logged("server", "action: apuesta_recibida")
        delivery.compose("stop", "-t", "5")
        self.assertEqual(delivery.exit_code("server"), 0)
        self.assertEqual(delivery.exit_code("client1"), 0)
        self.assertIn("action: shutdown | result: success", delivery.logs()["server"][-1])

    @unittest.skipUnless((COURSE_DATA / "agency-1.csv").is_file(),
                         "the course's data set is not here; LOTERIA_DATA names its folder")
    def test_the_course_s_data_set_draws_with_its_known_winners(self):
        delivery.configure()
        for i in range(1, 6):
            rows = (COURSE_DATA / f"agency-{i}.csv").read_bytes()
            (delivery.path / ".data" / f"agency-{i}.csv").write_bytes(rows.replace(b"\r\n", b"\n"))
        self.start(5)
        client_logs, _ = delivery.clients_done(5)
        logs = delivery.logs()
        self.assertEqual(sum(map(int, values(logs["server"], "apuesta_recibida", "cantidad"))), 78_697)
        self.check_draw(client_logs, logs, [(0, 2), (0, 3), (0, 3), (0, 2), (0, 0)])


class Layout(Case):
    """What tools/entrega.sh lays out."""

    def test_every_branch_has_real_files_and_builds_the_same_images_from_the_same_layers(self):
        branches = delivery.must(["git", "for-each-ref", "--format=%(refname:short)", "refs/heads"]).split()
        self.assertEqual(branches, [f"ej{n}" for n in range(1, 9)])
        for branch in branches:
            delivery.switch(branch)
            for name in ("generar-compose.sh", "validar-echo-server.sh", "server/Dockerfile", "server/config.ini",
                         "client/Dockerfile", "client/config.yaml"):
                file = delivery.path / name
                self.assertTrue(file.is_file() and not file.is_symlink(), f"{branch}: {name}")
            before = dict(delivery.images)
            self.assertEqual(delivery.build(), before, f"{branch} builds other images")

    def test_what_was_compiled_outlives_the_graders_prune(self):
        """`docker image prune -f` removes what has no name and nothing with a name that descends from it."""
        for program in ("server", "client"):
            history = delivery.must(["docker", "history", "--no-trunc", "--format", "{{.ID}} {{.CreatedBy}}", f"{program}:latest"])
            compiled = [line.split()[0] for line in history.splitlines() if "cargo build" in line]
            self.assertEqual(len(compiled), 2, history)
            self.assertNotIn("<missing>", compiled)
            pruned = delivery.must(["docker", "images", "--no-trunc", "--quiet", "--filter", "dangling=true"]).split()
            self.assertFalse(set(compiled) & set(pruned))

    def test_make_builds_the_same_images_as_the_graders(self):
        before = dict(delivery.images)
        delivery.must(["make", "docker-image"], timeout=BUILD_SECONDS_MAX)
        self.assertEqual({program: delivery.image(program) for program in before}, before)

    def test_an_image_runs_as_no_user_of_this_machine(self):
        for program in ("server", "client"):
            self.assertEqual(delivery.must(["docker", "inspect", "-f", "{{.Config.User}}", f"{program}:latest"]).strip(),
                             "10001:10001")

    def test_private_files_are_read_as_their_owner(self):
        delivery.configure()
        delivery.data(1, bets(1, 30, 2))
        files = [delivery.path / name for name in ("server/config.ini", "client/config.yaml", ".data/agency-1.csv")]
        owner = 54321 if os.geteuid() == 0 else os.geteuid()
        for file in files:
            file.chmod(0o600)
            os.chown(file, owner, -1)
        self.start(1)
        _, exits = delivery.clients_done(1)
        self.assertEqual(exits, {"client1": 0})
        run_as = delivery.must(["docker", "inspect", "-f", "{{.Config.User}}", "server", "client1"]).split()
        self.assertEqual([user.split(":")[0] for user in run_as], [str(owner)] * 2)

    def test_a_wrong_value_stops_the_server_with_code_2_and_names_the_key(self):
        delivery.configure()
        (delivery.path / "server" / "config.ini").write_text("[DEFAULT]\nSERVER_PORT = 99999\n")
        self.start(0)
        self.assertEqual(delivery.exit_code("server"), 2)
        self.assertIn("SERVER_PORT", delivery.compose("logs", "--no-color"))


if __name__ == "__main__":
    unittest.main()
