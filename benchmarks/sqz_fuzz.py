"""The decoder of `.sqz` files under atheris, which looks for inputs that reach new code.

    pip install -e '.[fuzz]'
    python -m benchmarks.sqz_fuzz [-max_total_time=60] [-runs=N] [CORPUS]     (libFuzzer's options)

Half of the inputs have right checksums, so that what lies behind these is reached, too. Whatever is not
decoded must be refused with `SqzError`; anything else that comes out is a finding, and ends the run.
"""

import struct
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["sqzx.compression"]):
    from sqzx.compression import sqz
    from sqzx.compression.sqz_errors import SqzError

from tests.sqzx.compression.sealing import sealed, sections_of
from tests.sqzx.compression.small_networks import frozen_networks


def decode(data: bytes) -> None:
    """Decode bytes, or refuse them."""
    try:
        sqz.decode(data, "fuzzed")
    except SqzError:
        return


def mutated(data: bytes, most: int, seed: int) -> bytes:
    """Change bytes anywhere, or one section and all checksums with it."""
    try:
        sections = sections_of(data) if seed % 2 else []
    except struct.error:  # damaged too much to be taken apart
        sections = []
    if not sections:
        return atheris.Mutate(data, most)
    number = seed // 2 % len(sections)
    sections[number] = atheris.Mutate(sections[number], max(len(sections[number]) + 8, 16))
    return sealed(sections, flags=data[10])[:most]


def main() -> None:
    with tempfile.TemporaryDirectory() as corpus:
        for name, (compressed, coder) in frozen_networks().items():
            Path(corpus, name).write_bytes(sqz.encode(compressed, coder=coder))
        atheris.Setup([*sys.argv, corpus], decode, custom_mutator=mutated)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
