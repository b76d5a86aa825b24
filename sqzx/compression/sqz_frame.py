"""The frame of a `.sqz` file: header, sections and checksums, whatever the sections hold.

`sqzx.compression.sqz` has the specification.
"""

import hashlib
import struct
import zlib

from sqzx.compression.coded_streams import Coder
from sqzx.compression.sqz_errors import ChecksumError, FormatError, LengthError

MAGIC = b"\x89SQZ\r\n\x1a\n"
VERSION = 1
LARGEST_FILE = 2**29
"""Bytes; the largest network as plain float32 takes half of it."""

HEAD = struct.Struct("<8sHHIQ")
CRC = struct.Struct("<I")
SHA_BYTES = 32
_CODERS: tuple[Coder, Coder] = ("huffman", "range")


def framed(sections: list[bytes], coder: Coder) -> bytes:
    """Return sections as the bytes of a file."""
    lengths = struct.pack(f"<{len(sections)}I", *map(len, sections))
    size = HEAD.size + len(lengths) + CRC.size + sum(len(s) + CRC.size for s in sections) + SHA_BYTES
    head = HEAD.pack(MAGIC, VERSION, _CODERS.index(coder), len(sections), size) + lengths
    parts = [head, CRC.pack(zlib.crc32(head))]
    for number, section in enumerate(sections):
        parts += [section, CRC.pack(_section_crc(number, section))]
    whole = b"".join(parts)
    return whole + hashlib.sha256(whole).digest()


def _section_crc(number: int, section: bytes) -> int:
    return zlib.crc32(section, zlib.crc32(CRC.pack(number)))


def check_head(head: bytes, size: int) -> tuple[Coder, int]:
    """Return the coder and the number of sections that the first bytes of a file of `size` bytes tell."""
    if not head.startswith(MAGIC[: max(1, len(head))]):
        raise FormatError("magic: no .sqz file")
    if len(head) < HEAD.size:
        raise LengthError(f"length: {size} bytes are less than a header; cut short")
    _, version, flags, sections, told = HEAD.unpack(head)
    if version != VERSION:
        raise FormatError(f"version: needs {VERSION}, found {version}; another release of sqzx may read it")
    if flags >= len(_CODERS):
        raise FormatError(f"required flags: {flags:#06x} has bits that this release does not know")
    if size > LARGEST_FILE:
        raise LengthError(f"length: {size:,} bytes, of at most {LARGEST_FILE:,}")
    if told != size:
        fault = "cut short" if size < told else "something was appended"
        raise LengthError(f"length: the header tells of {told:,} bytes, the file has {size:,}; {fault}")
    least = HEAD.size + CRC.size + 2 * CRC.size * sections + SHA_BYTES
    if sections < 1 or least > size:
        raise LengthError(f"sections: {sections:,} of them need at least {least:,} bytes, found {size:,}")
    return _CODERS[flags], sections


def unframed(data: bytes) -> tuple[Coder, list[bytes]]:
    """Return the coder and the sections of a file, after all its checksums."""
    coder, count = check_head(data[: HEAD.size], len(data))
    end = HEAD.size + 4 * count
    lengths = struct.unpack_from(f"<{count}I", data, HEAD.size)
    if zlib.crc32(data[:end]) != CRC.unpack_from(data, end)[0]:
        raise ChecksumError("CRC-32 of the header: damaged")
    end += CRC.size
    whole = end + sum(lengths) + CRC.size * count + SHA_BYTES
    if whole != len(data):
        raise LengthError(f"sections: end, with the SHA-256, at byte {whole:,}, the file at {len(data):,}")
    sections = []
    for number, length in enumerate(lengths):
        section = data[end : end + length]
        if _section_crc(number, section) != CRC.unpack_from(data, end + length)[0]:
            raise ChecksumError(f"CRC-32 of section {number}: damaged, or in another's place")
        sections.append(section)
        end += length + CRC.size
    if hashlib.sha256(memoryview(data)[:end]).digest() != data[end:]:
        raise ChecksumError("SHA-256 of the file: damaged")
    return coder, sections
