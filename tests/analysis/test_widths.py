from analysis.table import load, records
from analysis.widths import draw_widths, modules, network_of, pictures, told
from sqzx.architectures import AlexNetConfig, SqueezeNetConfig
from sqzx.counting import count


def test_the_filters_are_those_of_the_papers_table_1():
    table = modules(count(SqueezeNetConfig(), (227, 227, 3))).set_index("name")
    assert table.loc["conv1", "other"] == 96
    assert table.loc["fire2", ["squeeze", "expand1x1", "expand3x3"]].tolist() == [16, 64, 64]
    assert table.loc["fire9", ["squeeze", "expand1x1", "expand3x3"]].tolist() == [64, 256, 256]
    assert table.loc["conv10", "other"] == 1000
    assert len(table) == 10


def test_alexnet_is_drawn_layer_by_layer():
    table = modules(count(AlexNetConfig(), (227, 227, 3)))
    assert table["other"].tolist() == [96, 256, 384, 384, 256, 4096, 4096, 1000]


def test_a_row_of_the_table_is_its_network_again(paper_study):
    for row in records(load(paper_study).drop_duplicates("config_id")):
        network = network_of(row)
        assert (network.params, network.macs) == (row["params"], row["macs"])


TWO_FAMILIES = """schema = 1
name = "two families"
[config]
train.epochs = 1
[[sweep]]
set.model.preset = "squeezenet_small"
[[sweep]]
set.model.preset = "alexnet_small"
grid.model.fc_features = [[], [64, 64]]
"""


def test_families_stand_beside_each_other(make_study):
    found = pictures(load(make_study(TWO_FAMILIES)))
    assert [len(picture.modules) for picture in found] == [10, 8]  # without a hidden dense layer it has 6
    assert found[1].modules["other"].tolist() == [24, 64, 96, 96, 64, 64, 64, 10]
    draw_widths(found)


def test_the_smallest_the_chosen_and_the_largest_are_shown(paper_study):
    frame = load(paper_study)
    found = pictures(frame)
    assert found[0].role.startswith("smallest")
    assert found[-1].role.endswith("largest")
    assert any("chosen by validation" in picture.role for picture in found)
    assert (found[0].params, found[-1].params) == (frame["params"].min(), frame["params"].max())
    assert len(draw_widths(found).axes) == len(found)
    assert "47,258 parameters in 10 modules, the widest 128 filters" in told(found)


def test_the_front_is_that_of_validation(make_study, study_of, result):
    """By the test set the four would all be on it, with another one in its middle."""
    validation = {0.25: 0.9, 0.5: 0.5, 0.75: 0.6, 1.0: 0.8}
    out = make_study(
        study_of("grid.model.squeeze_ratio = [0.25, 0.5, 0.75, 1.0]"),
        lambda t: result(
            t,
            val_top1=validation[t.config.model.squeeze_ratio],
            test_top1=t.config.model.squeeze_ratio / 2,
        ),
    )
    roles = {picture.name: picture.role for picture in pictures(load(out))}
    assert roles == {
        "squeeze_ratio=0.25": "smallest, middle of the front, chosen by validation",
        "squeeze_ratio=1.0": "largest",
    }


def test_where_no_network_differs_there_is_no_picture(make_study, study_of):
    assert pictures(load(make_study(study_of("grid.train.learning_rate = [1e-3, 1e-2]")))) == []
