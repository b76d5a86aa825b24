"""A counted network as a table and as JSON."""

from typing import Any

from sqzx.counting import Network, Shape
from sqzx.terminal import new_table, print_table


def description(network: Network) -> dict[str, Any]:
    """Return a network as `sqzx describe --json` prints it."""
    return {
        "input_shape": list(network.input_shape),
        "params": network.params,
        "macs": network.macs,
        "flops": network.flops,
        "bytes_fp32": network.bytes_fp32,
        "peak_activations": network.peak_activations,
        "layers": [{**layer._asdict(), "output_shape": list(layer.output_shape)} for layer in network.layers],
    }


def print_description(network: Network) -> None:
    """Print a row a module, as the paper's Table 1 has them, and the totals."""
    columns = ("layer", "output", "s1x1", "e1x1", "e3x3", "parameters", "% of them", "MACs", "% of all")
    table = new_table(*columns, left=("layer", "output"))
    table.add_row("images", _text(network.input_shape))
    for module in network.modules:
        widths = module.widths
        fire = (widths.squeeze, widths.expand1x1, widths.expand3x3) if widths else ()
        table.add_row(
            module.name,
            _text(module.output_shape),
            *(map(str, fire) if fire else ("", "", "")),
            *_share(module.params, network.params),
            *_share(module.macs, network.macs),
        )
    table.add_section()
    table.add_row("total", "", "", "", "", f"{network.params:,}", "", f"{network.macs:,}")
    print_table(table)
    print(
        f"{network.params:,} parameters, {network.bytes_fp32:,} bytes as float32 "
        f"({network.bytes_fp32 / 2**20:.2f} MiB)\n"
        f"{network.macs:,} MACs, {network.flops:,} FLOPs, peak activations {network.peak_activations:,}"
    )


def _share(part: int, whole: int) -> tuple[str, str]:
    return (f"{part:,}", f"{100 * part / whole:.1f}") if part else ("", "")


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape))
