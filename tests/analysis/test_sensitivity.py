"""What each layer loses, as a table and a figure."""

import pandas as pd
import pytest

from analysis.sensitivity import draw_sensitivity, losses, write_sensitivity
from analysis.style import TEXT_ON_DARK, TEXT_ON_PALE
from sqzx.compression.sensitivity import Scan, Sensitivity

SCAN = Scan(
    dense=0.9,
    images=100,
    rows=[
        Sensitivity("conv1", 0.1, 4, 36, 0.2),
        Sensitivity("conv1", 0.5, 18, 36, 0.85),
        Sensitivity("conv10", 0.1, 100, 1000, 0.9),
        Sensitivity("conv10", 0.5, 500, 1000, 0.92),
    ],
)


def test_losses_are_points_by_layer_in_running_order_and_falling_density():
    table = losses(SCAN)
    assert list(table.index) == [("conv1", 36), ("conv10", 1000)]
    assert list(table.columns) == [0.5, 0.1]
    assert table.to_numpy().ravel() == pytest.approx([5, 70, -2, 0], abs=1e-9)


def test_the_figure_says_every_loss():
    (axes,) = draw_sensitivity(SCAN).axes
    assert [text.get_text() for text in axes.texts] == ["5.0", "70.0", "-2.0", "0.0"]
    assert [text.get_color() for text in axes.texts] == [
        TEXT_ON_PALE,
        TEXT_ON_DARK,
        TEXT_ON_PALE,
        TEXT_ON_PALE,
    ]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["conv1  36", "conv10  1,000"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.5", "0.1"]


def test_files(tmp_path):
    paths = write_sensitivity(SCAN, tmp_path / "new")
    assert [path.name for path in paths] == ["sensitivity.csv", "sensitivity.png", "sensitivity.svg"]
    assert all(path.stat().st_size for path in paths)
    table = pd.read_csv(paths[0])
    assert list(table.columns) == ["layer", "density", "kept", "weights", "val_top1", "dense_val_top1"]
    assert table["val_top1"].tolist() == [0.2, 0.85, 0.9, 0.92]
