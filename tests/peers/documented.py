"""What the clients write and read, held against the bytes that the documents print. Needs no hub."""

import unittest

import binary
import case_id
import comma
import key_value
import native
import text
from bets import Bet

ANA = Bet("Ana", "Pérez", "30904465", "1999-03-17", 7574)


class Documented(unittest.TestCase):
    def test_case_id_strings_are_those_of_the_winners_example(self):
        self.assertEqual(case_id.strings(b"\0\0\0\x0830904465"), ["30904465"])
        self.assertEqual(case_id.string("30904465"), b"\0\0\0\x0830904465")

    def test_case_id_lengths_count_bytes(self):
        self.assertEqual(case_id.batch_bytes(3, [ANA])[:5], b"\1\0\0\0\x33")
        self.assertEqual(len(case_id.batch_bytes(3, [ANA])), 5 + 0x33)

    def test_text_frames(self):
        self.assertEqual(text.frame("ACK"), b"3\nACK")
        self.assertEqual(text.frame("é"), "2\né".encode())
        self.assertEqual(text.line(3, ANA), "Ana|Pérez|30904465|1999-03-17|7574|3")

    def test_key_value_bets_are_escaped_twice(self):
        batch = key_value.batch_bytes(3, [ANA])[4:].decode()
        self.assertTrue(batch.startswith("BATCH_SIZE:1|BET_1:NOMBRE:Ana\\|APELLIDO:Pérez\\|DOCUMENTO:"), batch)
        awkward = ANA._replace(last="a|b:c\\")
        outer = key_value.pairs(key_value.batch_bytes(3, [awkward])[4:-1].decode())
        self.assertEqual(key_value.pairs(outer["BET_1"])["APELLIDO"], "a|b:c\\")

    def test_key_value_bets_between_colons(self):
        named = key_value.colons(3, ANA._replace(first="Ana|Maria"))
        self.assertTrue(named.startswith("NOMBRE:Ana\\|Maria:APELLIDO:Pérez:"), named)

    def test_binary_headers(self):
        self.assertEqual(binary.type_first(3, b"\0\0\0\x09"), bytes([0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 9]))
        self.assertEqual(binary.length_first(3, b"\0\0\0\x09"), bytes([0, 0, 0, 12, 0, 0, 0, 3, 0, 0, 0, 9]))

    def test_csv_batches(self):
        self.assertEqual(comma.batch_bytes([]), b"\1\0\0")
        self.assertEqual(comma.batch_bytes([ANA]), b"\1\0\x24" + "Ana,Pérez,30904465,1999-03-17,7574,".encode())

    def test_native_frames(self):
        # The finish of the page for people who write clients.
        self.assertEqual(native.frame(native.FINISH), bytes.fromhex("00000005 02 B34623A6"))
        self.assertEqual(native.frame(native.BATCH, native.batch_body(0, [ANA]))[:4], b"\0\0\0\x2b")


if __name__ == "__main__":
    unittest.main()
