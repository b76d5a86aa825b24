from analysis.budgets import best_within
from analysis.table import load


def test_each_budget_has_what_validation_chooses_within_it(make_study, study_of, result):
    validation = {0.25: 0.8, 0.5: 0.9, 0.75: 0.85, 1.0: 0.95}
    out = make_study(
        study_of("grid.model.squeeze_ratio = [0.25, 0.5, 0.75, 1.0]"),
        lambda t: result(t, val_top1=validation[t.config.model.squeeze_ratio], test_top1=0.5),
    )
    frame = load(out)
    found = best_within(frame)
    for best in found:
        fits = frame[frame["bytes_fp32"] <= best.budget]
        assert best.validation == fits["val_top1"].max()
        assert best.row["mean"] == 0.5
    assert found[-1].row["name"] == "squeeze_ratio=1.0"
    names = [best.row["name"] for best in found]
    assert len(set(names)) == len(names)  # a budget that changes nothing is left out
    assert "squeeze_ratio=0.75" not in names  # it is beaten by a smaller one


def test_of_equals_the_smaller_is_chosen(make_study, result):
    (best,) = best_within(load(make_study(outcome=lambda t: result(t, val_top1=0.9))))
    assert best.row["name"] == "squeeze_ratio=0.25"


def test_nothing_finished_leaves_nothing_to_choose(make_study):
    assert best_within(load(make_study(outcome=lambda t: None))) == []
