"""The project's own way through containers: the make targets, and tools/run_local_test.sh."""

import socket
import unittest
import urllib.request

from delivery import BUILD_SECONDS_MAX, Delivery, bets, shared, values

delivery: Delivery


def setUpModule():
    global delivery
    delivery = shared()


class LocalRun(unittest.TestCase):
    """The make targets, and tools/run_local_test.sh, which uses them."""

    def setUp(self):
        delivery.switch("ej8")
        self.addCleanup(delivery.down)

    def local_test(self):
        return delivery.run(["env", "SECONDS_MAX=10", "sh", "tools/run_local_test.sh"])

    def test_make_brings_it_up_for_the_agencies_that_are_there_and_takes_it_down(self):
        for i in (1, 2, 3, 4, 5):
            (delivery.path / ".data" / f"agency-{i}.csv").unlink()
        for i in (1, 2):
            delivery.data(i, bets(i, 10, i))
        delivery.must(["make", "docker-compose-up"], timeout=BUILD_SECONDS_MAX)
        logs, exits = delivery.clients_done(2)
        self.assertEqual(exits, {"client1": 0, "client2": 0})
        self.assertEqual(values(logs["client2"], "consulta_ganadores", "cant_ganadores"), ["2"])
        delivery.must(["make", "docker-compose-down"])
        self.assertEqual(delivery.must(["docker", "ps", "--all", "--quiet", "--filter",
                                        "label=com.docker.compose.project=tp0"]), "")

    def test_a_run_that_is_well_has_a_good_verdict(self):
        for mode in ("agency", "bet", "echo"):
            with self.subTest(mode=mode):
                delivery.configure(amount=1)
                delivery.data(1, bets(1, 70, 2))
                delivery.data(2, bets(2, 5, 0))
                delivery.generate(2, mode)
                done = self.local_test()
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                self.assertIn("run_local_test: success", done.stdout)
                self.assertIn("server", (delivery.path / "logs.txt").read_text())

    def test_agency_files_are_read_as_the_client_reads_them(self):
        delivery.configure()
        folder = delivery.path / ".data"
        quoted = "".join(",".join(f'"{value}"' for value in bet) + "\r\n" for bet in bets(1, 20, 2))
        (folder / "agency-1.csv").write_text("\ufeff" + quoted + "\r\n", newline="")
        (folder / "agency-2.csv").write_text("Ana,Paz,12345678,1990-02-03,1\n\n\n\n", newline="")
        delivery.generate(2)
        done = self.local_test()
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("server: bets stored: 21, sent: 21", done.stdout)

    def test_up_makes_those_containers_again_whose_configuration_changed(self):
        delivery.configure()
        delivery.generate(1, "echo")

        def up():
            delivery.must(["make", "docker-compose-up"], timeout=BUILD_SECONDS_MAX)
            return delivery.must(["docker", "inspect", "-f", "{{.Id}}", "server", "client1"]).split()

        before = up()
        self.assertEqual(up(), before)
        delivery.up()
        self.assertEqual(up(), before, "Compose by itself changes nothing either")
        file = delivery.path / "server" / "config.ini"
        file.write_text(file.read_text().replace("12345", "4321"))
        server, client = up()
        # Some versions of Compose make the clients again with the server that they depend on.
        self.assertNotEqual(server, before[0])
        delivery.logged("server", "action: listen | result: success | address: 0.0.0.0:4321")
        file = delivery.path / "client" / "config.yaml"
        file.write_text(file.read_text().replace("12345", "4321"))
        after = up()
        self.assertEqual([after[0] == server, after[1] == client], [True, False])
        self.assertEqual(delivery.clients_done(1)[1], {"client1": 0})

    def test_a_run_that_is_not_has_a_bad_one_and_says_why(self):
        delivery.configure()
        delivery.data(1, bets(1, 70, 2))
        delivery.data(2, [("Ana", "Paz", "12345678", "1990-02-31", "1")])
        delivery.generate(2)
        done = self.local_test()
        self.assertEqual(done.returncode, 1)
        self.assertIn("client2: exit code 1", done.stdout)
        self.assertIn("client1: exit code none within", done.stdout)
        self.assertIn("there was not one draw", done.stdout)
        self.assertIn("there are failures in logs.txt", done.stdout)


class Status(unittest.TestCase):
    """What the operator's compose file has besides that of the course: health, and the published status."""

    def setUp(self):
        delivery.switch("ej8")
        self.addCleanup(delivery.down)
        script = delivery.path / "tools" / "generar-compose.sh"
        script.write_text(script.read_text().replace("status=off", "status=on"))
        delivery.configure()
        for file in (delivery.path / ".data").glob("agency-*.csv"):
            file.unlink()
        for i in (1, 2):
            delivery.data(i, bets(i, 10, i))

    def up(self, port):
        """`make docker-compose-up` with this port; what it says, and where the status is."""
        said = delivery.must(["env", f"STATUS_PORT={port}", "make", "docker-compose-up"], timeout=BUILD_SECONDS_MAX)
        return said, delivery.compose("port", "server", "9100").strip()

    def test_clients_start_at_a_healthy_server_whose_status_is_on_this_machine(self):
        said, status = self.up(0)
        self.assertRegex(status, r"^127\.0\.0\.1:\d+$")
        self.assertIn(f"status: http://{status}/\n", said)
        self.assertEqual(delivery.must(["docker", "inspect", "-f", "{{.State.Health.Status}}", "server"]), "healthy\n")
        with urllib.request.urlopen(f"http://{status}/healthz") as answer:
            self.assertEqual((answer.status, answer.read()), (200, b"healthy\n"))

    def test_a_port_that_another_program_has_does_not_stop_the_start(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            _, status = self.up(port)
            self.assertNotEqual(status, f"127.0.0.1:{port}")
            with urllib.request.urlopen(f"http://{status}/metrics") as answer:
                self.assertIn(b"loteria_build_info", answer.read())
        _, exits = delivery.clients_done(2)
        self.assertEqual(exits, {"client1": 0, "client2": 0})

    def test_a_server_that_is_wrong_starts_no_client_and_says_so(self):
        (delivery.path / "server" / "config.ini").write_text("[DEFAULT]\nSERVER_PORT = 99999\n")
        done = delivery.run(["env", "STATUS_PORT=", "make", "docker-compose-up"], timeout=BUILD_SECONDS_MAX)
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(delivery.must(["docker", "inspect", "-f", "{{.State.Status}}", "client1"]).strip(), "created")


if __name__ == "__main__":
    unittest.main()
