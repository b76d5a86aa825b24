"""Each worker sees its own device, and takes no more of its memory than its share."""

import pytest

from sqzx.errors import InputError
from sweeps.devices import (
    Devices,
    device_environment,
    has_accelerator,
    memory_environment,
    visible_devices,
    workers_a_device,
)
from sweeps.executors import Resources
from sweeps.local import LocalExecutor


@pytest.mark.parametrize(
    ("named", "found"),
    [("0,2", ["0", "2"]), ("GPU-8f, MIG-1", ["GPU-8f", "MIG-1"]), ("1,-1,0", ["1"]), ("", []), ("-1", [])],
)
def test_cuda_visible_devices_decides(named, found, tmp_path):
    (tmp_path / "nvidia7").touch()
    assert visible_devices({"CUDA_VISIBLE_DEVICES": named}, tmp_path) == found


def test_without_it_the_devices_of_the_machine_count(tmp_path):
    for name in ("nvidia10", "nvidia0", "nvidia2", "nvidiactl", "nvidia-uvm", "nvidia-caps"):
        (tmp_path / name).touch()
    assert visible_devices({}, tmp_path) == ["0", "2", "10"]


@pytest.mark.parametrize(
    ("environment", "plugin", "expected"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"CUDA_VISIBLE_DEVICES": "0"}, True, True),
        ({"CUDA_VISIBLE_DEVICES": ""}, True, False),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, True, False),
        ({"JAX_PLATFORMS": "cpu"}, True, False),
        ({"JAX_PLATFORMS": "cuda,cpu"}, True, True),
    ],
)
def test_an_accelerator_is_a_visible_device_that_jax_would_use(
    environment, plugin, expected, tmp_path, monkeypatch
):
    monkeypatch.setattr("sweeps.devices.find_spec", lambda name: plugin or None)
    assert has_accelerator(environment, tmp_path) is False
    (tmp_path / "nvidia0").touch()
    assert has_accelerator(environment, tmp_path) is expected


@pytest.mark.parametrize(("share", "fit"), [(1, 1), (0.5, 2), (0.6, 1), (1 / 3, 3), (0.1, 10), (0.3, 3)])
def test_as_many_workers_as_shares_fit_on_a_device(share, fit):
    assert workers_a_device(share) == fit


def test_a_share_of_a_device_is_a_share_of_its_memory():
    assert device_environment("3", 1) == {"CUDA_VISIBLE_DEVICES": "3"}
    assert device_environment("3", 0.5)["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.45"
    for share in (0.5, 1 / 3, 0.1):
        fraction = float(memory_environment(share)["XLA_PYTHON_CLIENT_MEM_FRACTION"])
        assert fraction * workers_a_device(share) <= 0.9 + 1e-9


def test_workers_spread_over_the_devices():
    devices = Devices(["3", "7"])
    assert [devices.lend() for _ in range(4)] == ["3", "7", "3", "7"]
    devices.take_back("7")
    assert devices.lend() == "7"
    assert Devices([]).lend() is None


class TestOnThisMachine:
    @pytest.fixture(autouse=True)
    def two_devices(self, monkeypatch):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,7")
        monkeypatch.setattr("sweeps.local.available_cores", lambda: list(range(16)))

    @pytest.mark.parametrize(
        ("gpus", "cores", "workers"), [(0.5, 1, 4), (1, 1, 2), (0.5, 8, 2), (0, 1, 16), (0, 4, 4)]
    )
    def test_as_many_workers_as_cores_and_devices_allow(self, tmp_path, gpus, cores, workers):
        assert LocalExecutor(tmp_path, Resources(gpus=gpus, cores=cores)).free == workers

    def test_workers_at_once_may_be_set(self, tmp_path):
        assert LocalExecutor(tmp_path, Resources(gpus=1, workers=1)).free == 1

    def test_more_than_fit_is_said(self, tmp_path):
        executor = LocalExecutor(tmp_path, Resources(gpus=1, workers=3))
        assert executor.free == 3
        assert any("3 workers at once, and room for 2" in note for note in executor.notes())
        assert executor.notes() == []

    def test_no_device_is_a_mistake_of_the_input(self, tmp_path, monkeypatch):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
        with pytest.raises(InputError, match=r"--gpus-per-worker 0.5: found no NVIDIA device"):
            LocalExecutor(tmp_path, Resources(gpus=0.5))

    def test_more_cores_than_there_are_is_a_mistake_of_the_input(self, tmp_path):
        with pytest.raises(InputError, match=r"--cores-per-worker 17: there are 16 cores here"):
            LocalExecutor(tmp_path, Resources(cores=17))
