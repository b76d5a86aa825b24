"""A counted network, alone or beside another, as a table and as JSON."""

import functools
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any, NamedTuple

from sqzx.counting import Layer, Module, Network, Shape, size_label
from sqzx.terminal import new_table, print_table


def description(network: Network) -> dict[str, Any]:
    """Return a network as `sqzx describe --json` prints it."""
    return {
        "input_shape": list(network.input_shape),
        "params": network.params,
        "macs": network.macs,
        "flops": network.flops,
        "bytes_fp32": network.bytes_fp32,
        "size_label": size_label(network.bytes_fp32),
        "peak_activations": network.peak_activations,
        "layers": [_layer(layer) for layer in network.layers],
    }


def _layer(layer: Layer) -> dict[str, Any]:
    return {
        **layer._asdict(),
        "output_shape": list(layer.output_shape),
        "kernel_shape": list(layer.kernel_shape),
        "flops": layer.flops,
        "bytes_fp32": layer.bytes_fp32,
    }


def print_description(network: Network) -> None:
    """Print a row a module, as the paper's Table 1 has them, and the totals."""
    has_fires = any(module.widths for module in network.modules)
    fires = ("s1x1", "e1x1", "e3x3") if has_fires else ()
    columns = ("layer", "output", "filter", *fires, "parameters", "% of them", "bytes", "MACs", "% of all")
    table = new_table(*columns, left=("layer", "output", "filter"))
    table.add_row("images", shape_text(network.input_shape))
    for module in network.modules:
        w = module.widths
        widths = (w.squeeze, w.expand1x1, w.expand3x3) if w else ("",) * len(fires)
        table.add_row(
            module.name,
            shape_text(module.output_shape),
            _filter(module),
            *map(str, widths),
            *_share(module.params, network.params),
            f"{4 * module.params:,}" if module.params else "",
            *_share(module.macs, network.macs),
        )
    table.add_section()
    blank = ("",) * (2 + len(fires))
    table.add_row(
        "total", *blank, f"{network.params:,}", "", f"{network.bytes_fp32:,}", f"{network.macs:,}", ""
    )
    print_table(table)
    print(
        f"{network.params:,} parameters, {network.bytes_fp32:,} bytes as float32 "
        f"({network.bytes_fp32 / 2**20:.2f} MiB; rounded up as in the paper's Figure 3, "
        f"{size_label(network.bytes_fp32)})\n"
        f"{network.macs:,} MACs, {network.flops:,} FLOPs, peak activations {network.peak_activations:,}"
    )


class ModuleRow(NamedTuple):
    """A module of some of the networks, with what each of them has of it; what one lacks is None."""

    name: str
    shapes: tuple[Shape | None, ...]
    params: tuple[int | None, ...]
    macs: tuple[int | None, ...]

    @property
    def differs(self) -> bool:
        """Whether the networks are not alike here."""
        return any(len(set(own)) > 1 for own in (self.shapes, self.params, self.macs))


def module_rows(*networks: Network) -> tuple[ModuleRow, ...]:
    """Return every module of any of the networks, in running order."""
    found = [{module.name: module for module in network.modules} for network in networks]
    rows = []
    for name in functools.reduce(_merged, map(list, found)):
        own = [modules.get(name) for modules in found]
        rows.append(
            ModuleRow(
                name,
                tuple(m and m.output_shape for m in own),
                tuple(m and m.params for m in own),
                tuple(m and m.macs for m in own),
            )
        )
    return tuple(rows)


def side_by_side(*networks: Network) -> Any:
    """Return networks as a rich table: a row a module, with totals and ratios to the first."""
    letters = ascii_uppercase[: len(networks)]
    ratios = [f"{letter} / A" for letter in letters[1:]]
    columns = (
        *(f"output {letter}" for letter in letters),
        *(f"params {letter}" for letter in letters),
        *ratios,
        *(f"MACs {letter}" for letter in letters),
        *ratios,
    )
    table = new_table("layer", *columns, left=("layer",))
    for row in module_rows(*networks):
        table.add_row(
            row.name,
            *(shape_text(shape) if shape else "-" for shape in row.shapes),
            *counts_text(row.params),
            *counts_text(row.macs),
            style=None if row.differs else "dim",
        )
    table.add_section()
    totals = (counts_text([getattr(n, name) for n in networks]) for name in ("params", "macs"))
    table.add_row("total", *("" for _ in networks), *(text for own in totals for text in own), style="bold")
    return table


def print_side_by_side(networks: Mapping[str, Network]) -> None:
    """Print two networks, by what they are called, beside each other, with their sizes."""
    for letter, (told, network) in zip("AB", networks.items(), strict=True):
        print(
            f"{letter}  {told}: {network.params:,} parameters, {network.bytes_fp32:,} bytes "
            f"({size_label(network.bytes_fp32)}), {network.macs:,} MACs, "
            f"peak activations {network.peak_activations:,}"
        )
    print_table(side_by_side(*networks.values()))


def shape_text(shape: Shape) -> str:
    """Return a shape as 55x55x96."""
    return "x".join(map(str, shape))


def _filter(module: Module) -> str:
    """Return kernel and stride as the paper's Table 1 has them; a Fire module's are its columns."""
    layer = module.layers[0]
    if module.widths:
        return ""
    if layer.kind in ("max_pool", "mean_pool"):
        return "3x3/2 max" if layer.kind == "max_pool" else "mean"
    if layer.kind != "conv":
        return "dense" if layer.kind == "dense" else "over 5 channels"
    groups = f", {layer.groups} groups" if layer.groups > 1 else ""
    return f"{layer.kernel_shape[0]}x{layer.kernel_shape[1]}/{layer.stride}{groups}"


def _merged(a: list[str], b: list[str]) -> list[str]:
    """Return the names of both in running order: what only b has comes after what precedes it in b."""
    merged = list(a)
    for previous, name in zip([None, *b], b, strict=False):
        if name not in merged:
            merged.insert(merged.index(previous) + 1 if previous else 0, name)
    return merged


def _share(part: int, whole: int) -> tuple[str, str]:
    return (f"{part:,}", f"{100 * part / whole:.1f}") if part else ("", "")


def counts_text(counts: Sequence[int | None]) -> tuple[str, ...]:
    """Return numbers, "-" for None, and behind them the ratio of each further one to the first."""
    first, *others = counts
    ratios = (f"{n / first:.2f}" if first and n is not None else "" for n in others)
    return (*("-" if n is None else f"{n:,}" for n in counts), *ratios)
