"""The last line of `make test`, from outputs of the test harnesses as they are."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]

RUST = """\
     Running tests/peers.rs (target/debug/deps/peers-0a)

running 4 tests
skipped: certificates need openssl
skipped: certificates need openssl
test one ... ok
test two ... ok
test three ... skipped: there is no python3
ok
test long ... ignored

test result: ok. 4 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s

test result: ok. 10 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
"""

PYTHON = '''
import sys, unittest

class Example(unittest.TestCase):
    def test_a(self):
        """What it shows."""

    def test_b(self):
        print("noise of a program", file=sys.stderr)

    @unittest.skip("no engine answers")
    def test_c(self):
        pass

    def test_d(self):
        self.skipTest("it's no checkout")

class Whole(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        raise unittest.SkipTest("no base images")

    def test_e(self):
        pass

class Bad(unittest.TestCase):
    def test_f(self):
        self.assertFalse(FAIL)
'''


class Summary(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)

    def run_tests(self, *parts, fail=False, docker="echo 'test-docker: SKIPPED, there is no python3 here'"):
        """A run whose parts print what harnesses print; test-tools is a real run of unittest."""
        (self.folder / "rust").write_text(RUST)
        (self.folder / "test_example.py").write_text(f"FAIL = {fail}\n{PYTHON}")
        make = self.folder / "make"
        make.write_text(f"""#!/bin/sh
for part; do :; done
cd '{self.folder}'
echo "$part" >>ran
case $part in
    test-rust) cat rust ;;
    test-tools) exec '{sys.executable}' -B -m unittest --verbose test_example ;;
    test-docker) {docker} ;;
esac
""")
        make.chmod(0o755)
        temporary = self.folder / "temporary"
        temporary.mkdir(exist_ok=True)
        done = subprocess.run(["sh", ROOT / "tools/test.sh", *parts], capture_output=True, text=True,
                              env=os.environ | {"MAKE": str(make), "TMPDIR": str(temporary)})
        self.assertEqual(os.listdir(temporary), [])
        return done

    def test_the_last_line_says_what_passed_and_what_was_skipped_and_why(self):
        done = self.run_tests("test-rust", "test-tools", "test-docker")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.splitlines()[-1],
                         "test: passed: 11 of test-rust, 3 of test-tools, 0 of test-docker; skipped: "
                         "certificates need openssl (2); it's no checkout (1); no base images (1); no engine answers (1); "
                         "there is no python3 (1); there is no python3 here (1)")
        self.assertIn("Running tests/peers.rs", done.stdout, "the parts' own output comes before it")

    def test_nothing_skipped_is_said(self):
        done = self.run_tests("test-docker", docker="printf 'test_a (x.Y.test_a) ... ok\\n'")
        self.assertEqual(done.stdout.splitlines()[-1], "test: passed: 1 of test-docker; skipped: nothing")

    def test_after_a_part_that_fails_no_other_one_of_its_lane_begins_and_it_is_named(self):
        done = self.run_tests("test-rust", "test-tools", "test-docker", fail=True)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr, "test: FAILED: test-tools, see above; passed: 11 of test-rust\n")
        self.assertIn("FAIL: test_f", done.stdout)
        self.assertEqual(sorted((self.folder / "ran").read_text().split()), ["test-rust", "test-tools"])

    def test_the_output_of_what_runs_beside_comes_in_one_piece_behind(self):
        done = self.run_tests("test-tools", "test-rust")
        self.assertLess(done.stdout.index("finished in 0.01s"), done.stdout.index("test_b (test_example"))
        self.assertIn("passed: 3 of test-tools, 11 of test-rust; skipped", done.stdout.splitlines()[-1], "in the order given")

    def test_all_parts_run_but_the_long_one(self):
        self.run_tests()
        self.assertEqual(sorted((self.folder / "ran").read_text().split()), ["test-browser", "test-docker", "test-rust", "test-tools"])

    def test_make_test_is_this_run(self):
        recipe = subprocess.run(["make", "--dry-run", "test"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        self.assertIn("tools/test.sh", recipe)


if __name__ == "__main__":
    unittest.main()
