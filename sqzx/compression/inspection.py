"""Where the bytes of a `.sqz` file go, layer by layer, and what general compressors make of its weights."""

import lzma
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sqzx.compression import sqz
from sqzx.compression.compressed import Stage, named_layers
from sqzx.compression.layer_sections import Measured

ALEXNET_BYTES = 243_860_896
"""The 60,965,224 parameters of AlexNet as float32, to which the paper compares all sizes."""


class LayerRow(NamedTuple):
    """A layer in the file. Bits are of an entry, a nonzero weight or a filler (of any weight if dense).

    `mode` is "dense" or "sparse", and "shared" or "plain". A code or a gap takes `code_bits` or `gap_bits`
    before coding, and on average the `coded_` ones after. `bytes` are those of the whole section: name,
    codebook, streams, bias and checksum.
    """

    name: str
    n: int
    nonzero: int
    fillers: int
    density_asked: float | None
    density: float
    mode: str
    entries: int
    code_bits: int
    coded_code_bits: float
    gap_bits: int
    coded_gap_bits: float
    bits_before: int
    bits_after: int
    bytes: int


class Inspection(NamedTuple):
    """A file as a value: `header_bytes + metadata_bytes + sum of row.bytes == bytes`.

    `header_bytes` is what frames the sections: the header, and the SHA-256 at the end. Bits are of the coded
    codes and gaps; `bits_before` is what they take without coding. `zlib_bytes` and `lzma_bytes` are what
    those make of the same parameters as float32.
    """

    path: str
    coder: str
    rows: tuple[LayerRow, ...]
    header_bytes: int
    metadata_bytes: int
    bytes: int
    parameters: int
    weights: int
    nonzero: int
    fillers: int
    bits_before: int
    bits_after: int
    bytes_fp32: int
    zlib_bytes: int
    lzma_bytes: int
    history: tuple[Stage, ...]

    @property
    def bits_per_weight(self) -> float:
        """Bits of the whole file for each weight of the network, pruned ones and biases too."""
        return 8 * self.bytes / self.parameters

    @property
    def ratio(self) -> float:
        """How many times larger this network is as float32."""
        return self.bytes_fp32 / self.bytes

    @property
    def ratio_to_alexnet(self) -> float:
        """How many times larger AlexNet is as float32."""
        return ALEXNET_BYTES / self.bytes


def inspect(path: Path) -> Inspection:
    """Read a file and tell where its bytes go. Anything but a valid `.sqz` is an `InputError`."""
    data = sqz.read_bytes(path)
    opened = sqz.open_sqz(data, str(path))
    layers = named_layers(opened.compressed.model.parameters)
    rows = tuple(
        _row(name, arrays["kernel"], opened, size)
        for (name, arrays), size in zip(layers.items(), opened.section_bytes[1:], strict=True)
    )
    raw = b"".join(array.tobytes() for arrays in layers.values() for array in arrays.values())
    return Inspection(
        path=str(path),
        coder=opened.coder,
        rows=rows,
        header_bytes=opened.frame_bytes,
        metadata_bytes=opened.section_bytes[0],
        bytes=len(data),
        parameters=len(raw) // 4,
        weights=sum(row.n for row in rows),
        nonzero=sum(row.nonzero for row in rows),
        fillers=sum(row.fillers for row in rows),
        bits_before=sum(row.bits_before for row in rows),
        bits_after=sum(row.bits_after for row in rows),
        bytes_fp32=len(raw),
        zlib_bytes=len(zlib.compress(raw, 9)),
        lzma_bytes=len(lzma.compress(raw)),
        history=opened.compressed.history,
    )


def to_json(found: Inspection) -> dict[str, Any]:
    """Return what `sqzx inspect --json` prints."""
    told = found._asdict()
    del told["rows"]
    return {
        **told,
        "layers": [row._asdict() for row in found.rows],
        "bits_per_weight": found.bits_per_weight,
        "ratio": found.ratio,
        "ratio_to_alexnet": found.ratio_to_alexnet,
    }


def print_inspection(found: Inspection) -> None:
    """Print a row a layer, the totals, and the comparisons."""
    from sqzx.terminal import new_table, print_table

    columns = ("weights", "nonzero", "fillers", "asked", "density", "mode", "code bits", "gap bits", "bytes")
    table = new_table("layer", *columns, left=("layer", "mode"))
    for row in found.rows:
        table.add_row(
            row.name,
            *(f"{count:,}" for count in (row.n, row.nonzero, row.fillers)),
            "" if row.density_asked is None else f"{row.density_asked:g}",
            f"{row.density:.4f}",
            row.mode,
            f"{row.code_bits} > {row.coded_code_bits:.2f}",
            f"{row.gap_bits} > {row.coded_gap_bits:.2f}" if row.gap_bits else "",
            f"{row.bytes:,}",
        )
    table.add_section()
    blank = ("",) * 3
    for told, size in (("header and SHA-256", found.header_bytes), ("metadata", found.metadata_bytes)):
        table.add_row(told, *blank, *blank, *("",) * 2, f"{size:,}")
    counts = (f"{count:,}" for count in (found.weights, found.nonzero, found.fillers))
    density = f"{found.nonzero / found.weights:.4f}"
    table.add_row("total", *counts, "", density, "", "", "", f"{found.bytes:,}")
    print_table(table)
    coder = {"huffman": "Huffman", "range": "range"}[found.coder]
    print(
        f"{coder} coded: codes and gaps take {-(-found.bits_after // 8):,} bytes, "
        f"{-(-found.bits_before // 8):,} before\n"
        f"{found.bits_per_weight:.3f} bits a weight over {found.parameters:,} weights and biases\n"
        f"{found.ratio:.1f}x smaller than the {found.bytes_fp32:,} bytes of its float32, "
        f"{found.ratio_to_alexnet:.1f}x than AlexNet's {ALEXNET_BYTES:,}\n"
        f"the same weights by zlib: {found.zlib_bytes:,} bytes, by LZMA: {found.lzma_bytes:,}"
    )


def _row(name: str, kernel: np.ndarray, opened: sqz.Opened, size: int) -> LayerRow:
    compressed, measured = opened.compressed, opened.measured[name]
    codes = compressed.shared[name].codes if name in compressed.shared else kernel
    nonzero = int(np.count_nonzero(codes))
    form = "sparse" if measured.width else "dense"
    values = "shared" if name in compressed.shared else "plain"
    return LayerRow(
        name=name,
        n=kernel.size,
        nonzero=nonzero,
        fillers=measured.fillers,
        density_asked=compressed.densities.get(name),
        density=nonzero / kernel.size,
        mode=f"{form} {values}",
        entries=measured.entries,
        code_bits=measured.value_bits,
        coded_code_bits=_each(measured.coded_value_bits, measured),
        gap_bits=measured.width,
        coded_gap_bits=_each(measured.coded_gap_bits, measured),
        bits_before=measured.entries * (measured.value_bits + measured.width),
        bits_after=measured.coded_value_bits + measured.coded_gap_bits,
        bytes=size,
    )


def _each(bits: int, measured: Measured) -> float:
    return bits / measured.entries if measured.entries else 0.0
