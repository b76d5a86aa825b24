import pandas as pd
import pytest

from analysis.compression import MOST_LABELS, UNCOMPRESSED, compressions, draw_compression, told
from analysis.figures import drawings
from analysis.paper import table2
from analysis.summary import summary
from analysis.table import load, stored


@pytest.fixture
def frame(make_study) -> pd.DataFrame:
    """A dense network of each family, and what two methods made of them, three seeds each."""
    dense = load(make_study()).head(3)
    rows = [
        ("squeezenet", None, None, 0.90),
        ("squeezenet", "deep_compression", 5_000, 0.88),
        ("squeezenet", "deep_compression", 2_000, 0.80),
        ("alexnet", None, None, 0.95),
        ("alexnet", "svd", 8_000, 0.93),
        ("alexnet", "deep_compression", 3_000, 0.94),
    ]
    parts = []
    for i, (family, recipe, size, accuracy) in enumerate(rows):
        part = dense.assign(
            id=[f"t{i}{seed}" for seed in range(3)],
            config_id=f"c{i}",
            name=f"{family} {recipe}",
            test_top1=[accuracy - 0.01, accuracy, accuracy + 0.01],
            bytes_compressed=pd.array([size] * 3, dtype="Int64"),
        )
        part["model.family"] = pd.Series([family] * 3, dtype="str", index=part.index)
        part["compress.recipe"] = pd.Series([recipe] * 3, dtype="str", index=part.index)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def test_each_network_has_what_every_method_made_of_it(frame):
    (found,) = compressions(frame)
    assert found.methods == ("deep_compression", "svd")
    groups = {
        (family, method): sorted(members["size"])
        for (family, method), members in found.points.groupby(["family", "method"])
    }
    dense = float(frame["bytes_fp32"].iloc[0])
    assert groups == {
        ("AlexNet", UNCOMPRESSED): [dense],
        ("AlexNet", "svd"): [8_000],
        ("AlexNet", "deep_compression"): [3_000],
        ("SqueezeNet", UNCOMPRESSED): [dense],
        ("SqueezeNet", "deep_compression"): [2_000, 5_000],
    }
    assert found.points.groupby("family")["network"].nunique().tolist() == [1, 1]


def test_what_begins_dense_sparse_dense_is_a_method_of_its_own(frame):
    recipe = frame["compress.recipe"]
    density = [
        0.33 if r == "deep_compression" and size == 2_000 else None
        for r, size in zip(recipe, frame["bytes_compressed"], strict=True)
    ]
    (found,) = compressions(frame.assign(**{"compress.dsd_density": pd.array(density, dtype="Float64")}))
    assert set(found.methods) == {"svd", "deep_compression", "dsd deep_compression"}
    assert found.points.loc[found.points["method"] == "dsd deep_compression", "size"].tolist() == [2_000]
    assert "DSD, Deep Compression" in told(found)


def test_a_line_runs_from_the_dense_network_through_smaller_and_smaller_files(frame):
    (found,) = compressions(frame)
    (axes,) = draw_compression(found).axes
    lines = {
        tuple(round(float(x)) for x in line.get_xdata()): line.get_color()
        for line in axes.lines
        if line.get_linestyle() != "None"
    }
    dense = int(frame["bytes_fp32"].iloc[0])
    assert set(lines) == {(dense, 5_000, 2_000), (dense, 8_000), (dense, 3_000)}
    assert lines[dense, 5_000, 2_000] == lines[dense, 3_000] != lines[dense, 8_000]  # one colour a method
    assert any("Deep Compression\n2 kB" in text.get_text() for text in axes.texts)


def test_the_papers_table_stands_beside(frame):
    (found,) = compressions(frame)
    ours, theirs = draw_compression(found, published=table2()).axes
    assert len(ours.lines) == 8  # three lines, and the points of five groups
    assert len(theirs.lines) == 10  # four lines, and the points of six groups
    texts = [text.get_text() for text in theirs.texts]
    assert "Deep Compression\n470 kB, 510x" in texts  # as printed: than AlexNet
    assert "SVD\n48 MB, 5x" in texts
    assert {"AlexNet\n240 MB", "SqueezeNet\n4.8 MB, 50x"} <= set(texts)


def test_a_method_has_one_colour_with_us_and_in_the_paper(frame):
    (found,) = compressions(frame)
    assert found.methods == ("deep_compression", "svd")  # in another order than the paper's
    colours = []
    for axes in draw_compression(found, published=table2()).axes:
        by_tip = axes.figure.tips
        colours.append({})
        for line in axes.lines:
            for text in by_tip.get(line.get_gid(), []):
                for word, name in (("svd", "svd"), ("SVD", "svd"), ("deep", "deep"), ("Deep", "deep")):
                    if word in text:
                        colours[-1][name] = line.get_color()
    assert colours[0] == colours[1]
    assert len(set(colours[0].values())) == 2


def test_a_dense_network_is_named_however_many_files_there_are(frame):
    more = [
        frame.iloc[3:6].assign(config_id=f"more{i}", name=f"more {i}", **{"model.base_e": 100 + i})
        for i in range(MOST_LABELS)
    ]
    (found,) = compressions(pd.concat([frame, *more], ignore_index=True))
    (axes,) = draw_compression(found).axes
    texts = [text.get_text().partition("\n")[0] for text in axes.texts]
    assert {"AlexNet", "SqueezeNet"} <= set(texts)


def test_a_front_stands_at_what_is_stored(frame):
    """At its 32-bit bytes a compressed network would lie above the dense one, and never be on the front."""
    one = frame[frame["model.family"] == "alexnet"].assign(val_top1=frame["test_top1"])
    (drawing,) = [d for d in drawings(one) if d.name == "accuracy_against_size"]
    assert "alexnet deep_compression at 3 kB" in drawing.told
    assert "2 of 3 configurations are on the front" in drawing.told  # svd is larger and less accurate
    found = stored(one).drop_duplicates("config_id")
    dense = int(frame["bytes_fp32"].iloc[0])
    assert found["bytes_fp32"].tolist() == [dense, 8_000, 3_000]
    assert any("2 kB" in s for s in summary(stored(frame)) if s.startswith("The smallest"))


def test_it_is_drawn_where_something_was_compressed(frame):
    frame = frame[frame["model.family"] == "squeezenet"]
    names = [one.name for one in drawings(frame)]
    assert "accuracy_against_compressed_bytes" in names
    dense = frame[frame["compress.recipe"].isna()]
    assert "accuracy_against_compressed_bytes" not in [one.name for one in drawings(dense)]


def test_the_smallest_files_are_told_in_words(frame):
    (found,) = compressions(frame)
    assert "SqueezeNet, Deep Compression: squeezenet deep_compression: 2 kB" in told(found)
