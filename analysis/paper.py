"""The paper's own Figure 3 as data.

Source: Iandola et al. 2016, arXiv:1602.07360v4, section 5 and Figure 3 (page 8). `top5` is ImageNet top-5
accuracy in per cent as *plotted*: the figure is vector graphics, and each marker's coordinates decode to a
number with one decimal. `label_top5` is the number printed beside the marker, where there is one, and
`size_label` the size on the axis. `params` is counted from the metaparameters (base_e = incr_e = 128,
freq = 2; pct_3x3 = 0.5 along the squeeze ratio, squeeze_ratio = 0.5 along the 3x3 fraction; widths rounded
half up, which matters at 1 % and 99 % only). One run a point, no seeds.

The paper contradicts itself where the sweeps cross: squeeze_ratio = pct_3x3 = 0.5 is one network, plotted at
85.4 in one panel and at 85.3 in the other, and labelled 85.3 in both.
"""

from importlib.resources import files

import pandas as pd

SWEEPS = ("model.squeeze_ratio", "model.pct_3x3")
"""The keys that Figure 3 moves along."""


def figure3(key: str) -> pd.DataFrame:
    """Return the published points along one of `SWEEPS`, in the order of its value.

    Columns: `value`, `top5` (per cent), `label_top5` (NaN where the figure has no label), `size_label`,
    `params` and `bytes_fp32` (four bytes a parameter).
    """
    with files("analysis").joinpath("paper_figure3.csv").open(encoding="utf-8") as file:
        points = pd.read_csv(file)
    chosen = points[points["sweep"] == key.removeprefix("model.")].drop(columns="sweep")
    return chosen.assign(bytes_fp32=4 * chosen["params"]).reset_index(drop=True)
