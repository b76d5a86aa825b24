from dataclasses import replace

import pytest

from analysis.paper import SWEEPS, figure3
from sqzx.architectures import SqueezeNetConfig
from sqzx.counting import count, size_label


def test_figure_3_has_five_and_nine_points():
    assert figure3("model.squeeze_ratio")["top5"].tolist() == [80.3, 83.4, 85.4, 86.0, 86.1]
    assert figure3("model.pct_3x3")["top5"].tolist() == [76.3, 80.9, 84.0, 84.7, 85.3, 85.6, 85.4, 85.5, 85.3]


def test_the_crossing_point_is_plotted_twice_with_two_values_and_one_label():
    crossing = [figure3(key).query("value == 0.5").iloc[0] for key in SWEEPS]
    assert [point["top5"] for point in crossing] == [85.4, 85.3]
    assert [point["label_top5"] for point in crossing] == [85.3, 85.3]
    assert crossing[0]["params"] == crossing[1]["params"] == 3_404_392


@pytest.mark.parametrize("key", SWEEPS)
def test_params_are_those_counted_from_the_metaparameters(key):
    base = SqueezeNetConfig(squeeze_ratio=0.5, pct_3x3=0.5)
    for point in figure3(key).itertuples():
        config = replace(base, **{key.removeprefix("model."): point.value})
        assert count(config, (227, 227, 3)).params == point.params
        assert point.bytes_fp32 == 4 * point.params


def test_size_labels_are_the_papers_but_for_pct_3x3_of_0_375():
    points = [
        (p.value, p.size_label, size_label(p.bytes_fp32)) for k in SWEEPS for p in figure3(k).itertuples()
    ]
    assert len(points) == 14
    assert [point for point in points if point[1] != point[2]] == [(0.375, "11MB", "12MB")]


@pytest.mark.parametrize(
    ("size", "label"),
    [(1, "0.1KB"), (189_032, "185KB"), (2**20, "1.0MB"), (2**20 + 1, "1.1MB"), (10 * 2**20, "10MB")],
)
def test_size_labels_round_up(size, label):
    assert size_label(size) == label
