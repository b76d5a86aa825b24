import json

import pandas as pd
import pytest

from analysis.figures import read_epochs
from analysis.learning import courses, draw_courses, shown_configurations
from analysis.table import load
from analysis.trials import epochs_of
from sweeps.plan import plan_folder, trial_folder


def line(epoch: int, top1: float, kind: str = "validation") -> str:
    return json.dumps({"step": epoch, "kind": kind, "epoch": epoch, "val_top1": top1}) + "\n"


@pytest.fixture
def study(make_study, result):
    def outcome(trial):
        wide = trial.config.model.squeeze_ratio == 0.5
        return result(trial, val_top1=0.8 if wide else 0.9, test_top1=0.95 if wide else 0.85)

    out = make_study(outcome=outcome)
    for trial in plan_folder(out).trials:
        seed = trial.config.seed
        text = line(0, 0, "train") + line(0, 0.2 + seed / 10) + line(1, 0.6 + seed / 10)
        trial_folder(out, trial.id).metrics_file.write_text(text)
    return out


def test_the_chosen_the_best_and_the_worst_are_shown(study):
    frame = load(study)
    names = frame.drop_duplicates("config_id").set_index("config_id")["name"]
    roles = {names[config]: role for config, role in shown_configurations(frame).items()}
    assert roles == {"squeeze_ratio=0.25": "chosen and worst", "squeeze_ratio=0.5": "best"}


def test_of_equals_the_smaller_is_chosen_as_everywhere(make_study, study_of, result):
    text = study_of("grid.model.squeeze_ratio = [0.5, 0.25]")
    frame = load(make_study(text, lambda t: result(t, val_top1=0.9)))
    names = frame.drop_duplicates("config_id").set_index("config_id")["name"]
    roles = {role: names[config] for config, role in shown_configurations(frame).items()}
    assert next(name for role, name in roles.items() if "chosen" in role) == "squeeze_ratio=0.25"


def test_an_epoch_counts_the_seeds_that_have_a_number(study):
    frame = load(study)
    epochs = read_epochs(frame, study, "test_top1")
    config = frame["config_id"][0]
    first = frame.index[frame["config_id"] == config][0]
    epochs.loc[(epochs["id"] == frame["id"][first]) & (epochs["epoch"] == 1), "val_top1"] = float("nan")
    found = courses(frame, epochs, {config: "one"})
    assert found[0].epochs["n"].tolist() == [3, 2]


def test_lines_are_means_over_seeds_and_bands_their_range(study):
    frame = load(study)
    found = courses(frame, read_epochs(frame, study, "test_top1"), shown_configurations(frame))
    assert [course.role for course in found] == ["chosen and worst", "best"]
    table = found[0].epochs
    assert table["epoch"].tolist() == [1, 2]
    assert table["mean"].tolist() == pytest.approx([0.3, 0.7])
    assert table["low"].tolist() == pytest.approx([0.2, 0.6])
    assert table["high"].tolist() == pytest.approx([0.4, 0.8])
    assert table["n"].tolist() == [3, 3]
    axes = draw_courses(found).axes[0]
    assert len(axes.lines) == len(axes.collections) == 2
    assert len({drawn.get_color() for drawn in axes.lines}) == 2


def test_a_trial_that_does_not_count_has_no_part(study):
    frame = load(study)
    epochs = read_epochs(frame, study, "test_top1")
    frame.loc[0, "learned"] = False
    assert courses(frame, epochs, shown_configurations(frame))[0].epochs["n"].tolist() == [2, 2]


def test_an_epoch_trained_again_counts_as_it_was_in_the_end(study):
    folder = trial_folder(study, load(study)["id"][0])
    folder.metrics_file.write_text(line(0, 0.1) + line(0, 0.3) + line(1, 0.4)[:-5])
    found = epochs_of([folder])
    assert found["val_top1"].tolist() == [0.3]
    assert list(found.columns) == ["id", "epoch", "val_top1", "val_top5", "val_loss"]


@pytest.mark.parametrize("text", ["{broken\n", "[]\n", '{"kind": "validation"}\n', "\udcff\n"])
def test_a_damaged_file_is_its_trials_loss_alone(study, text):
    first, second = load(study)["id"][:2]
    trial_folder(study, first).metrics_file.write_bytes(text.encode("utf-8", "surrogateescape"))
    found = epochs_of(trial_folder(study, trial) for trial in (first, second))
    assert set(found["id"]) == {second}


def test_without_any_epoch_there_is_no_course(paper_study):
    frame = load(paper_study)
    epochs = read_epochs(frame, paper_study, "test_top1")
    assert isinstance(epochs, pd.DataFrame)
    assert courses(frame, epochs, shown_configurations(frame)) == []
