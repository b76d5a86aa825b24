from analysis.history import history, mixed
from sqzx.trial import Status


def ran(jax: str, **record) -> Status:
    provenance = {"versions": {"jax": jax, "flax": "0.12"}, "processor": "AMD EPYC", **record}
    return Status(status="done", started_time="2026-11-25T10:00:00+00:00", provenance=provenance)


def test_different_versions_are_said_with_the_trials_of_each():
    statuses = [ran("0.10.2"), ran("0.10.3"), ran("0.10.2"), Status()]
    assert mixed(statuses) == [
        "Trials ran with different versions of jax: 0.10.2 (2 trials), 0.10.3 (1 trial)."
    ]


def test_the_devices_are_named_and_that_they_differ_is_said():
    statuses = [ran("1", device={"platform": "gpu", "kind": kind, "count": 1}) for kind in ("H100", "H200")]
    assert history(statuses)["device"] == "H100; H200"
    assert mixed(statuses) == ["Trials ran with different devices: H100 (1 trial), H200 (1 trial)."]


def test_another_processor_and_another_commit_are_said():
    git = {"commit": "0" * 40, "dirty": False}
    statuses = [ran("1", git=git), ran("1", processor="Xeon", git=git | {"dirty": True})]
    assert mixed(statuses) == [
        "Trials ran with different processors: AMD EPYC (1 trial), Xeon (1 trial).",
        "Trials ran with different states of the code: commit 000000000000 (1 trial), commit 000000000000, "
        "with changes that are not committed (1 trial).",
    ]


def test_equal_records_and_none_say_nothing():
    assert mixed([ran("1"), ran("1")]) == []
    assert mixed([Status()]) == []
