"""What networks look like inside: the filters of each module from the input to the classifier."""

import typing
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.blocks import varying_keys
from analysis.selection import chosen
from analysis.statistics import pareto_front, summarise
from analysis.style import COLOURS, PAPER, SOFT, StudyFigure, head, new_figure, styled
from analysis.table import records
from analysis.wording import count_text, number_text
from sqzx.config import KEYS, from_settings
from sqzx.counting import Network, count

MOST_NAMES = 20


class Picture(NamedTuple):
    """A network by depth: `role` is why it is shown.

    `modules` has a row a module with parameters, in running order: `name`, and its filters as `squeeze`,
    `expand1x1` and `expand3x3`, or as `other` for a layer that is no Fire module (0 where there are none).
    """

    role: str
    name: str
    params: int
    modules: pd.DataFrame


def pictures(frame: pd.DataFrame, metric: str = "test_top1") -> list[Picture]:
    """Return the smallest, the chosen and the largest network, and the middle of the front, on one data set.

    Validation chooses, and makes the front; `metric` says which validation accuracy. Empty where no key of
    the model varies: one network needs no comparison.
    """
    by = metric.replace("test_", "val_")
    summary = summarise(frame, by)
    found = summary[summary["n"] > 0]
    if not any(key.startswith("model.") for key in varying_keys(found)):
        return []
    on_front = found[pareto_front(found["bytes_fp32"], found["mean"])].sort_values("bytes_fp32")
    choice = chosen(frame, by=by)
    assert choice is not None  # one of those found
    roles = {
        "smallest": found["bytes_fp32"].idxmin(),
        "middle of the front": on_front.index[len(on_front) // 2],
        "chosen by validation": found.index[found["config_id"] == choice.config_id][0],
        "largest": found["bytes_fp32"].idxmax(),
    }
    told: dict[Any, str] = {}
    for role, row in roles.items():
        told[row] = f"{told[row]}, {role}" if row in told else role
    by_size = found.loc[list(told)].sort_values("bytes_fp32", kind="stable")
    return [
        Picture(told[index], row["name"], int(row["params"]), modules(network_of(row)))
        for index, row in zip(by_size.index, records(by_size), strict=True)
    ]


def network_of(row: dict[str, Any]) -> Network:
    """Count the network of a row of the table, where a tuple is text ("1,4,8") and a gap another family's."""
    settings = {
        key: _typed(key, row[key])
        for key in KEYS
        if key.startswith(("model.", "data.")) and not pd.isna(row.get(key, np.nan))
    }
    config = from_settings(settings)
    return count(config.model, config.data.image_shape)


def _typed(key: str, value: Any) -> Any:
    if typing.get_origin(KEYS[key].annotation) is tuple:
        return tuple(int(number) for number in value.split(",") if number)
    return value


def modules(network: Network) -> pd.DataFrame:
    """Return the filters of each module that has parameters."""
    rows = []
    for module in network.modules:
        filters = {"squeeze": 0, "expand1x1": 0, "expand3x3": 0, "other": 0}
        if module.widths is not None:
            widths = module.widths
            filters |= {k: getattr(widths, k) for k in ("squeeze", "expand1x1", "expand3x3")}
        elif module.params:
            filters["other"] = module.output_shape[-1]
        else:
            continue  # pooling and normalisation have no filters
        rows.append({"name": module.name, **filters})
    return pd.DataFrame(rows)


def draw_widths(found: list[Picture]) -> StudyFigure:
    """Draw a panel a network, all on one scale: expand filters as stacked bars, squeeze filters as a line."""
    columns = 1 if len(found) == 1 else 2
    rows = -(-len(found) // columns)
    with styled():
        figure = new_figure(4.6 * columns, 1.0 + 2.6 * rows)
        head(
            figure,
            "Networks by width and depth",
            "Filters of each module, from the input to the classifier.",
        )
        panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
        for axes, picture in zip(panels, found, strict=False):
            _draw_network(axes, picture)
        for axes in panels[len(found) :]:
            axes.remove()
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


def _draw_network(axes: Axes, picture: Picture) -> None:
    table = picture.modules
    at = np.arange(len(table))
    axes.bar(at, table["other"], 0.72, color=SOFT, alpha=0.55, label="other layers")
    axes.bar(at, table["expand1x1"], 0.72, color=COLOURS[5], label="expand 1x1")
    axes.bar(at, table["expand3x3"], 0.72, bottom=table["expand1x1"], color=COLOURS[0], label="expand 3x3")
    fires = table["squeeze"] > 0
    axes.plot(
        at[fires],
        table["squeeze"][fires],
        color=COLOURS[1],
        marker="o",
        markersize=5,
        markeredgecolor=PAPER,
        label="squeeze 1x1",
    )
    name = picture.name if len(picture.name) <= 46 else picture.name[:45] + "…"
    axes.set_title(f"{picture.role}: {number_text(picture.params)} parameters\n", fontsize=9)
    axes.text(0, 1.03, name, transform=axes.transAxes, fontsize=8, color=SOFT)
    shown = np.unique(np.linspace(0, len(table) - 1, min(len(table), MOST_NAMES)).round().astype(int))
    axes.set_xticks(shown, [table["name"][i] for i in shown], rotation=45, ha="right", rotation_mode="anchor")
    axes.tick_params(axis="x", labelsize=7.5, length=0)
    axes.tick_params(axis="y", labelleft=True)
    axes.set_ylabel("filters")


def told(found: list[Picture]) -> str:
    """Return the networks in one sentence, for who cannot see them."""
    each = "; ".join(
        f"{picture.role} ({picture.name}) with {count_text(picture.params, 'parameter')} in "
        f"{count_text(len(picture.modules), 'module')}, the widest {_widest(picture)} filters"
        for picture in found
    )
    return f"Networks: {each}."


def _widest(picture: Picture) -> int:
    table = picture.modules
    return int((table["expand1x1"] + table["expand3x3"] + table["other"]).max())
