import numpy as np

from analysis.figures import drawings
from analysis.labels import Obstacles, evenly, place, telling
from analysis.table import load


def overlap(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3])


def test_crowded_labels_do_not_overlap():
    rng = np.random.default_rng(7)
    anchors = rng.uniform(150, 450, (12, 2))
    sizes = np.full((12, 2), (60.0, 20.0))
    panel = np.array([0, 0, 600, 600])
    centres = place(anchors, sizes, panel, Obstacles(anchors, np.full(12, 30.0)))
    apart = (np.abs(centres[:, None] - centres) >= sizes).any(axis=2) | np.eye(12, dtype=bool)
    assert apart.all(), "seed 7"
    assert (centres - sizes / 2 >= panel[:2]).all()
    assert (centres + sizes / 2 <= panel[2:]).all()


def test_leaders_do_not_run_across_other_labels():
    """Large labels around points that stand close together, as on a front of many small networks."""
    anchors = np.column_stack([np.linspace(200, 420, 8), 250 + 10 * np.arange(8)])
    sizes = np.full((8, 2), (140.0, 50.0))
    panel = np.array([0, 0, 800, 600])
    centres = place(anchors, sizes, panel, Obstacles(anchors, np.full(8, 30.0)))
    steps = np.linspace(0.1, 0.9, 50)[:, None]
    crossed = [
        (i, j)
        for i in range(8)
        for j in range(8)
        if i != j
        and (np.abs(anchors[i] + (centres[i] - anchors[i]) * steps - centres[j]) < sizes[j] / 2 - 3)
        .all(1)
        .any()
    ]
    assert crossed == []


def test_labels_of_the_papers_study_do_not_overlap(paper_study):
    found = {one.name: one for one in drawings(load(paper_study))}
    for name in ("accuracy_along_axes", "accuracy_against_size"):
        for axes in found[name].draw().axes:
            boxes = [text.get_window_extent().extents for text in axes.texts if text.get_text()]
            assert len(boxes) >= 5
            assert not any(overlap(a, b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_of_many_points_a_few_get_a_label_the_ends_among_them(paper_study):
    frame = load(paper_study)
    chosen = evenly(frame)
    assert (len(chosen), chosen.index[0], chosen.index[-1]) == (8, 0, 38)
    assert len(evenly(frame.head(14))) == 14


def test_of_many_points_the_ends_and_the_extremes_tell_most(paper_study):
    points = load(paper_study).assign(mean=0.5)
    points.loc[7, "mean"], points.loc[20, "mean"] = 0.1, 0.9
    assert telling(points).index.tolist() == [0, 7, 20, 38]
