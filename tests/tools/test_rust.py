"""tools/test_rust.sh: several test programs at once, with a cargo that is played."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]

CARGO = """#!/bin/sh
echo "$*" >>"$FOLDER/asked"
case $* in
    *--no-run*) cat "$FOLDER/built" ;;
    *--doc*) echo "test result: ok. 1 passed; 0 failed" ;;
esac
"""


class Rust(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name) / "a folder"
        self.folder.mkdir()
        self.script("cargo", CARGO)
        self.built = [{"reason": "compiler-artifact", "target": {"kind": ["bin"], "src_path": "src/main.rs", "test": True},
                       "profile": {"opt_level": "0", "test": False}, "features": [], "executable": str(self.folder / "no test"), "fresh": True}]

    def script(self, name, text):
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def program(self, name, text):
        path = self.script(f"{name}-0a", f"#!/bin/sh\n{text}\n")
        self.built.append({"reason": "compiler-artifact", "target": {"kind": ["test"], "src_path": str(ROOT / f"tests/{name}.rs"), "test": True},
                           "profile": {"opt_level": "0", "test": True}, "features": [], "executable": str(path), "fresh": True})

    def run_tests(self, *names, **environment):
        (self.folder / "built").write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in self.built))
        temporary = self.folder / "temporary"
        temporary.mkdir(exist_ok=True)
        done = subprocess.run(["sh", ROOT / "tools/test_rust.sh", *names], capture_output=True, text=True, env=os.environ | {
            "PATH": f"{self.folder}:{os.environ['PATH']}", "FOLDER": str(self.folder), "TMPDIR": str(temporary), **environment})
        self.assertEqual(os.listdir(temporary), [])
        return done

    def test_programs_run_at_once_and_each_prints_in_one_piece(self):
        # Each waits until the other runs.
        for name, other in (("one", "two"), ("two", "one")):
            self.program(name, f": >'{self.folder}/{name}'; echo {name} begins; until [ -e '{self.folder}/{other}' ]; do sleep 0.01; done; "
                               f"echo 'test result: ok. 1 passed; 0 failed'")
        done = self.run_tests(AT_ONCE="2")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for name in ("one", "two"):
            self.assertIn(f"     Running tests/{name}.rs\n{name} begins\ntest result: ok. 1 passed; 0 failed\n", done.stdout)
        self.assertEqual(done.stdout.count("test result: "), 3, "these, and the documentation's examples")

    def test_those_that_fail_are_named_at_the_end_and_all_run(self):
        self.program("bad", "echo why; exit 101")
        self.program("good", "echo good")
        done = self.run_tests(AT_ONCE="1")
        self.assertEqual((done.returncode, done.stderr), (1, "test_rust: FAILED: tests/bad.rs (exit code 101)\n"))
        self.assertIn("Running tests/bad.rs\nwhy\n", done.stdout)
        self.assertIn("Running tests/good.rs\ngood\n", done.stdout)

    def test_what_make_test_cluster_has_runs_only_if_it_is_named(self):
        self.program("cluster_kill", "echo it runs")
        self.program("good", "echo good")
        self.assertNotIn("it runs", self.run_tests().stdout)
        self.assertIn("it runs", self.run_tests("cluster_kill").stdout)
        asked = (self.folder / "asked").read_text().splitlines()
        self.assertIn("--test cluster_kill", asked[-1])

    def test_a_number_that_is_none_is_refused_and_no_program_is_no_success(self):
        for at_once in ("many", "0"):
            self.assertEqual(self.run_tests(AT_ONCE=at_once).returncode, 2)
        done = self.run_tests()
        self.assertEqual((done.returncode, done.stderr), (1, "test_rust: cargo names no test program\n"))


if __name__ == "__main__":
    unittest.main()
