"""A `.sqz` file taken apart and put together again, with right checksums whatever it holds."""

import hashlib
import struct
import zlib


def sections_of(data):
    """Take a valid file apart, by its specification."""
    (count,) = struct.unpack_from("<I", data, 12)
    lengths = struct.unpack_from(f"<{count}I", data, 24)
    offset, sections = 28 + 4 * count, []
    for length in lengths:
        sections.append(data[offset : offset + length])
        offset += length + 4
    return sections


def sealed(sections, *, version=1, flags=0, count=None, size=None):
    """Put a file together with right checksums, whatever it holds."""
    lengths = b"".join(struct.pack("<I", len(section)) for section in sections)
    whole = 24 + len(lengths) + 4 + sum(len(section) + 4 for section in sections) + 32
    head = b"\x89SQZ\r\n\x1a\n" + struct.pack(
        "<HHIQ", version, flags, len(sections) if count is None else count, whole if size is None else size
    )
    head += lengths
    data = head + struct.pack("<I", zlib.crc32(head))
    for number, section in enumerate(sections):
        data += section + struct.pack("<I", zlib.crc32(struct.pack("<I", number) + section))
    return data + hashlib.sha256(data).digest()
