"""The paper's own results as data: Figure 3, Tables 2 and 3, and where they contradict themselves.

Source: Iandola et al. 2016, arXiv:1602.07360v4. Accuracies are ImageNet's in per cent, of one run each,
without seeds. Sizes are labels as printed: "MB" there is 2^20 bytes, rounded up to two digits.

- `figure3` (section 5, page 8). `top5` is as *plotted*: the figure is vector graphics, and each marker's
  coordinates decode to a number with one decimal. `label_top5` is the number printed beside the marker,
  where there is one. `params` is counted from the metaparameters (base_e = incr_e = 128, freq = 2;
  pct_3x3 = 0.5 along the squeeze ratio, squeeze_ratio = 0.5 along the 3x3 fraction; widths rounded half up,
  which matters at 1 % and 99 % only).
- `table2` (section 4, page 6): AlexNet and SqueezeNet, compressed.
- `table3` (section 6, page 10): SqueezeNet with bypass connections. `params` is counted.
"""

from importlib.resources import files
from typing import Literal, NamedTuple

import pandas as pd

SWEEPS = ("model.squeeze_ratio", "model.pct_3x3")
"""The keys that Figure 3 moves along."""

NOISE = 0.3
"""Points of accuracy within which the plateau of Figure 3b (85.3 to 85.6) is flat."""


Answer = Literal["yes", "no", "cannot say"]


class Check(NamedTuple):
    """A published number or claim, ours, whether the shape agrees, and why that cannot be said if so."""

    where: str
    what: str
    published: str
    ours: str
    agrees: Answer
    why: str


class Contradiction(NamedTuple):
    """Where the paper disagrees with itself or with what can be counted, and what was made of it."""

    where: str
    what: str


CONTRADICTIONS = (
    Contradiction(
        "Figure 3",
        "The sweeps cross at squeeze_ratio = pct_3x3 = 0.5, one network, plotted at 85.4 in one panel and "
        "at 85.3 in the other, and labelled 85.3 in both: runs differ by at least 0.1 points.",
    ),
    Contradiction(
        "Section 5.3",
        "The text says that accuracy plateaus at 85.6 % with 50 % of 3x3 filters; the point at 85.6 is that "
        "of 62.5 %.",
    ),
    Contradiction(
        "Section 5.2",
        "The text says that the plateau of the squeeze ratio is 86.0 %; its last point, 1.0, is plotted at "
        "86.1.",
    ),
    Contradiction(
        "Figure 3b",
        "The size of pct_3x3 = 37.5 % is labelled 11 MB; rounded up as the other 13 are, 11.11 MiB is 12.",
    ),
    Contradiction(
        "Table 3",
        "Complex bypass is given as 7.7MB. The network of Figure 2 has 1,589,672 parameters, 6.06 MiB: "
        "unexplained.",
    ),
    Contradiction(
        "Table 3",
        "Simple bypass gains 2.9 points of top-1 here. In an independent table with one recipe for all "
        "(osmr/imgclsmob) it loses 0.6, so a study that finds no gain is in company.",
    ),
    Contradiction(
        "Table 1",
        "The input is given as 224x224 and the map of conv1 as 111x111, which takes 227; fire8 is given as "
        "33 % dense, and only 30 % gives its count.",
    ),
    Contradiction(
        "Table 2",
        "Reductions are ratios of the printed, rounded sizes. By bytes SqueezeNet is 48.8 times smaller "
        "than AlexNet, not 50, and the published 8-bit file of 675,763 bytes 361 times, not 363.",
    ),
)
"""Known contradictions, as notes beside what is drawn or checked."""


def figure3(key: str) -> pd.DataFrame:
    """Return the published points along one of `SWEEPS`, in the order of its value.

    Columns: `value`, `top5` (per cent), `label_top5` (NaN where the figure has no label), `size_label`,
    `params` and `bytes_fp32` (four bytes a parameter).
    """
    points = _read("paper_figure3.csv")
    chosen = points[points["sweep"] == key.removeprefix("model.")].drop(columns="sweep")
    return chosen.assign(bytes_fp32=4 * chosen["params"]).reset_index(drop=True)


def table2() -> pd.DataFrame:
    """Return Table 2: network, approach, bits, size_from, size (labels), reduction, top1, top5 (per cent)."""
    return _read("paper_table2.csv")


def table3() -> pd.DataFrame:
    """Return Table 3: bypass, top1, top5 (per cent), size_label and params."""
    return _read("paper_table3.csv")


def _read(name: str) -> pd.DataFrame:
    with files("analysis").joinpath(name).open(encoding="utf-8") as file:
        return pd.read_csv(file, keep_default_na=False, na_values=[""], dtype={"bits": "str"})
