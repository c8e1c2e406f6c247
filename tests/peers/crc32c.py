"""CRC-32C (Castagnoli), the check of RFC 3720 and of `native` frames, by its table."""

POLYNOMIAL = 0x82F63B78  # reflected


def _entry(byte):
    for _ in range(8):
        byte = byte >> 1 ^ (POLYNOMIAL if byte & 1 else 0)
    return byte


TABLE = tuple(_entry(byte) for byte in range(256))


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


# The published check value of the algorithm; a wrong table must not be used.
assert crc32c(b"123456789") == 0xE3069283
