"""A real `.sqz` file, damaged: each flipped bit and each cut must be refused, soon and in little memory.

    python -m benchmarks.sqz_damage FILE.sqz [--flips 5000] [--cuts 1000] [--sealed 2000] [--seed 0]

Bits and cuts are drawn at random; `--flips 0` takes every bit. With `--sealed` bits of the sections are
flipped and all checksums made right again, as an attacker would: then a file may be another network, and what
counts is that nothing but `SqzError` comes out, within 2 seconds and 300 MB. Exits with 1 where one passes.
"""

import argparse
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from sqzx.compression.sqz import decode
from sqzx.compression.sqz_errors import SqzError
from tests.sqzx.compression.sealing import sealed, sections_of

MOST_SECONDS, MOST_MB = 2.0, 300.0


def main() -> None:
    parser = argparse.ArgumentParser(description="Damage a real .sqz file.")
    parser.add_argument("file", type=Path)
    for name, number in (("flips", 5000), ("cuts", 1000), ("sealed", 2000), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=number)
    asked = parser.parse_args()
    data, draw = asked.file.read_bytes(), random.Random(asked.seed)
    decode(data, "whole")
    bits = range(8 * len(data))
    before = peak_mb()
    flips = bits if asked.flips == 0 else draw.sample(bits, min(asked.flips, len(bits)))
    cuts = draw.sample(range(len(data)), min(asked.cuts, len(data)))
    sound = [
        told("flipped bits", (flipped(data, bit) for bit in flips), may_pass=False),
        told("cuts", (data[:size] for size in cuts), may_pass=False),
        told("with fresh checksums", (attacked(data, draw) for _ in range(asked.sealed)), may_pass=True),
    ]
    more = peak_mb() - before
    print(f"{more:.0f} MB more than for the whole file (at most {MOST_MB:g})")
    sys.exit(0 if all(sound) and more <= MOST_MB else 1)


def told(what: str, damaged: Iterable[bytes], *, may_pass: bool) -> bool:
    """Decode each, print what came of it, and return whether that is all right."""
    kinds: Counter[str] = Counter()
    slowest = 0.0
    for data in damaged:
        begun = time.process_time()
        try:
            decode(data, "damaged")
        except SqzError as error:
            kinds[type(error).__name__] += 1
        else:
            kinds["passed"] += 1
        slowest = max(slowest, time.process_time() - begun)
    print(f"{what}: {kinds.total():,}, " + ", ".join(f"{kind} {n:,}" for kind, n in kinds.most_common()))
    print(f"  slowest {slowest:.2f} s of the processor (at most {MOST_SECONDS:g})", flush=True)
    return (may_pass or not kinds["passed"]) and slowest <= MOST_SECONDS


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def attacked(data: bytes, draw: random.Random) -> bytes:
    """Flip a bit of one section and make the checksums right again."""
    sections = sections_of(data)
    number = draw.randrange(len(sections))
    sections[number] = flipped(sections[number], draw.randrange(8 * len(sections[number])))
    (flags,) = data[10:11]
    return sealed(sections, flags=flags)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


if __name__ == "__main__":
    main()
