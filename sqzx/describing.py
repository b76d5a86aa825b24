"""A counted network, alone or beside another, as a table and as JSON."""

from collections.abc import Mapping
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
    """A module of either of two networks; what a side lacks is None."""

    name: str
    shape_a: Shape | None
    shape_b: Shape | None
    params_a: int | None
    params_b: int | None
    macs_a: int | None
    macs_b: int | None


def module_rows(a: Network, b: Network) -> tuple[ModuleRow, ...]:
    """Return every module of either network, in running order."""
    of_a, of_b = ({module.name: module for module in network.modules} for network in (a, b))
    rows = []
    for name in _merged(list(of_a), list(of_b)):
        ma, mb = of_a.get(name), of_b.get(name)
        rows.append(
            ModuleRow(
                name,
                ma and ma.output_shape,
                mb and mb.output_shape,
                ma and ma.params,
                mb and mb.params,
                ma and ma.macs,
                mb and mb.macs,
            )
        )
    return tuple(rows)


def side_by_side(a: Network, b: Network) -> Any:
    """Return two networks as a rich table: a row a module, with totals and ratios."""
    columns = ("output A", "output B", "params A", "params B", "B / A", "MACs A", "MACs B", "B / A")
    table = new_table("layer", *columns, left=("layer",))
    for row in module_rows(a, b):
        differs = (row.shape_a, row.params_a, row.macs_a) != (row.shape_b, row.params_b, row.macs_b)
        table.add_row(
            row.name,
            *(shape_text(shape) if shape else "-" for shape in (row.shape_a, row.shape_b)),
            *_pair(row.params_a, row.params_b),
            *_pair(row.macs_a, row.macs_b),
            style=None if differs else "dim",
        )
    table.add_section()
    table.add_row("total", "", "", *_pair(a.params, b.params), *_pair(a.macs, b.macs), style="bold")
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


def _pair(a: int | None, b: int | None) -> tuple[str, str, str]:
    ratio = f"{b / a:.2f}" if a and b is not None else ""
    first, second = ("-" if n is None else f"{n:,}" for n in (a, b))
    return first, second, ratio
