"""What tools/generar-compose.sh --cluster writes, read as text: no engine is needed here."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXED = re.compile(r"ipv4_address: 172\.25\.126\.(\d+)\n")


class ComposeCluster(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.root = pathlib.Path(holder.name) / "the project"
        shutil.copytree(ROOT / "tools", self.root / "tools", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("config.ini", "config.yaml"):
            shutil.copy(ROOT / name, self.root / name)
        (self.root / ".data").mkdir()
        for i in range(1, 4):
            (self.root / f".data/agency-{i}.csv").touch()

    def run_script(self, *arguments, **environment):
        clean = {name: value for name, value in os.environ.items() if name != "DATA"}
        return subprocess.run(["sh", "tools/generar-compose.sh", "--cluster", *map(str, arguments)], cwd=self.root, capture_output=True,
                              text=True, env={**clean, **environment})

    def generate(self, hubs, **environment):
        """The service blocks by name."""
        done = self.run_script(hubs, **environment)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        self.text = (self.root / "docker-compose-cluster.yaml").read_text()
        body = self.text.split("\nservices:\n")[1].split("\nvolumes:\n")[0]
        parts = re.split(r"^  (\w+):$", body, flags=re.M)[1:]
        return dict(zip(parts[::2], parts[1::2]))

    def test_it_has_three_nodes_the_hubs_a_balancer_and_an_agency_for_each_file(self):
        names = list(self.generate(4))
        self.assertEqual(names, ["secrets", "schema", "pg1", "pg2", "pg3", "hub1", "hub2", "hub3", "hub4", "haproxy", "client1", "client2",
                                 "client3"])

    def test_what_names_an_address_names_the_one_that_is_there_and_none_is_given_twice(self):
        services = self.generate(50)
        addresses = {name: found[0] for name, block in services.items() if (found := FIXED.findall(block))}
        self.assertEqual(len(set(addresses.values())), 3 + 50 + 1)
        self.assertLess(max(map(int, addresses.values())), 128, "the engine gives out those behind")
        self.assertIn("ip_range: 172.25.126.128/25", self.text)
        hosts = ",".join(f"172.25.126.{addresses[name]}:5432" for name in ("pg1", "pg2", "pg3"))
        peers = ",".join(f"{name}=172.25.126.{addresses[name]}" for name in ("pg1", "pg2", "pg3"))
        for name, block in services.items():
            if name.startswith("hub"):
                self.assertIn(f"POSTGRES_HOSTS: {hosts}\n", block)
                self.assertIn(f"PROXY_FROM: 172.25.126.{addresses['haproxy']}\n", block)
                self.assertIn('LOTTERY_AGENCIES: "3"\n', block)
            if name.startswith("client"):
                self.assertIn(f"CLI_SERVER_ADDRESS: 172.25.126.{addresses['haproxy']}:12345\n", block)
            if "PEERS" in block:
                self.assertIn(f"PEERS: {peers}\n", block)
        hubs = " ".join(f"172.25.126.{addresses[f'hub{i}']}:12345" for i in range(1, 51))
        self.assertIn(f"HUBS: {hubs}\n", services["haproxy"])

    def test_hubs_wait_for_the_schema_and_agencies_for_healthy_hubs(self):
        services = self.generate(2)
        self.assertIn("    depends_on:\n      - pg1\n      - pg2\n      - pg3\n", services["schema"], "who starts a hub starts the nodes")
        for name in ("hub1", "hub2"):
            self.assertIn("      schema:\n        condition: service_completed_successfully\n", services[name])
            self.assertIn(f"      {name}:\n        condition: service_healthy\n", services["haproxy"])
        self.assertIn("depends_on:\n      - haproxy\n", services["client1"])

    def test_each_hub_has_its_name_and_its_status_on_a_port_of_this_machine_that_is_free(self):
        services = self.generate(3)
        for i in (1, 2, 3):
            self.assertIn(f"    hostname: hub{i}\n", services[f"hub{i}"])
            self.assertIn("      STATUS_ADDRESS: 0.0.0.0:9100\n", services[f"hub{i}"])
            self.assertIn('    ports:\n      - "127.0.0.1::9100"\n', services[f"hub{i}"])

    def test_the_agencies_files_are_those_of_the_project_or_of_a_folder_that_is_named(self):
        self.assertIn('source: "./.data/agency-3.csv"\n', self.generate(1)["client3"])
        other = self.root.parent / "others"
        other.mkdir()
        (other / "agency-1.csv").touch()
        services = self.generate(1, DATA=str(other))
        self.assertNotIn("client2", services)
        self.assertIn(f'source: "{other}/agency-1.csv"\n        target: "/loteria/.data/agency-1.csv"\n', services["client1"])
        self.assertIn('source: "./config.yaml"\n', services["client1"])
        self.assertIn('LOTTERY_AGENCIES: "1"\n', services["hub1"])
        for data, named in (("nowhere", "DATA is 'nowhere'"), ("tools", "no agency-1.csv")):
            done = self.run_script(1, DATA=data)
            self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (2, "", 1), done.stderr)
            self.assertIn(named, done.stderr)

    def test_the_test_in_containers_is_skipped_aloud_without_docker_and_refuses_wrong_settings(self):
        folder = self.root.parent / "bin"
        folder.mkdir()
        (folder / "docker").write_text("#!/bin/sh\nexit 1\n")
        (folder / "docker").chmod(0o755)
        environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
        for bets, expected in (("", (0, "docker-cluster-test: SKIPPED, no Docker engine answers here\n", "")),
                               ("many", (2, "", "run_cluster_test: BETS is 'many'; it is a number\n"))):
            done = subprocess.run(["sh", ROOT / "tools/run_cluster_test.sh"], env={**environment, "BETS": bets}, cwd=folder,
                                  capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stdout, done.stderr), expected)
            self.assertEqual(os.listdir(folder), ["docker"])

    def test_the_settings_against_loss_are_those_of_the_manual(self):
        settings = (ROOT / "tools/cluster/patroni.yml").read_text()
        manual = (ROOT / "docs/CLUSTER.md").read_text()
        for setting in ("ttl: 20", "loop_wait: 2", "retry_timeout: 3", "primary_start_timeout: 0", "synchronous_mode: quorum",
                        "synchronous_mode_strict: true", "synchronous_node_count: 1", "maximum_lag_on_failover: 0",
                        'synchronous_commit: "on"', "use_pg_rewind: true"):
            self.assertIn(f"{setting}\n", settings)
            self.assertRegex(manual, rf"(?m)^ *{re.escape(setting)}( +#.*)?$")
        [pinned] = re.findall(r"(?m)^patroni==(\S+) --hash=sha256:[0-9a-f]{64}$", (ROOT / "tools/cluster/patroni.txt").read_text())
        self.assertIn(f"patroni[etcd3,psycopg3]=={pinned}\n", (ROOT / "tools/patroni.txt").read_text())

    def test_wrong_arguments_are_said_in_one_line_and_write_nothing(self):
        for arguments, named in [((), "usage"), (("0",), "N is 0"), (("51",), "N is 51"), (("many",), "'many'"), (("-1",), "'-1'"),
                                 (("3", "f.yaml", "x"), "usage"), (("3", "tools"), "folder"), (("3", "nowhere/f.yaml"), "nowhere/f.yaml")]:
            done = self.run_script(*arguments)
            self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (2, "", 1), done.stderr)
            self.assertIn(named, done.stderr)
        self.assertFalse((self.root / "docker-compose-cluster.yaml").exists())


if __name__ == "__main__":
    unittest.main()
