"""Taking bytes apart, part by part, and whole numbers of any size.

A number takes 7 bits of each of its bytes, the lowest first; the highest bit of a byte says that another
follows (unsigned LEB128). Only the shortest spelling is valid, and no number reaches 2^35.
"""

import struct

from sqzx.compression.sqz_errors import LengthError

_LONGEST = 5


class ByteReader:
    """Takes one part after the other, and nothing that is not there: a `LengthError` names the part."""

    def __init__(self, data: bytes):
        self.data = data
        self.offset = 0

    def take(self, part: str, size: int) -> bytes:
        """Return the next `size` bytes."""
        end = self.offset + size
        if end > len(self.data):
            raise LengthError(f"{part}: ends at byte {end:,} of the section's {len(self.data):,}")
        taken = self.data[self.offset : end]
        self.offset = end
        return taken

    def unpack(self, part: str, fields: str) -> tuple:
        """Return the next fields, as `struct` has them."""
        return struct.unpack(fields, self.take(part, struct.calcsize(fields)))

    def number(self, part: str) -> int:
        """Return the next number."""
        value = 0
        for place in range(_LONGEST):
            (byte,) = self.take(part, 1)
            value |= (byte & 127) << 7 * place
            if byte < 128:
                if byte == 0 and place:
                    raise LengthError(f"{part}: a number with a needless byte")
                return value
        raise LengthError(f"{part}: a number of more than {_LONGEST} bytes")

    def check_end(self) -> None:
        """Refuse bytes that are left over."""
        if self.offset != len(self.data):
            surplus = len(self.data) - self.offset
            raise LengthError(f"section: {surplus:,} bytes after its last part")


def number(value: int) -> bytes:
    """Return a whole number, 0 <= value < 2^35, as bytes."""
    spelled = []
    while value > 127:
        spelled.append(value & 127 | 128)
        value >>= 7
    return bytes([*spelled, value])
