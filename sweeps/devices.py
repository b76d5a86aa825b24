"""Which NVIDIA device a worker sees, and how much of its memory it takes: settings of its environment."""

import re
from collections import Counter
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

USABLE_MEMORY = 0.9
"""The part of a device's memory that its workers share: each has a context outside of JAX's share."""


def visible_devices(environment: Mapping[str, str], dev: Path = Path("/dev")) -> list[str]:
    """Return the names of the devices that programs of `environment` may use, as CUDA takes them.

    CUDA_VISIBLE_DEVICES decides, up to its first entry that is none; without it, what is in `dev`.
    """
    named = environment.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        found = (re.fullmatch(r"nvidia(\d+)", path.name) for path in dev.glob("nvidia*"))
        return sorted((match[1] for match in found if match), key=int)
    devices: list[str] = []
    for name in map(str.strip, named.split(",")):
        if name in ("", "-1"):
            break
        devices.append(name)
    return devices


def has_accelerator(environment: Mapping[str, str], dev: Path = Path("/dev")) -> bool:
    """Whether JAX would use an NVIDIA GPU in `environment`, as far as can be told without starting it."""
    wanted = environment.get("JAX_PLATFORMS", "")
    plugin = any(find_spec(f"jax_cuda{version}_plugin") for version in (12, 13))
    there = any(dev.glob("nvidia[0-9]*")) and bool(visible_devices(environment, dev))
    return there and plugin and (not wanted or "cuda" in wanted or "gpu" in wanted)


def workers_a_device(share: float) -> int:
    """Return how many workers with a `share` of a device (0 < share <= 1) fit on one."""
    return int(1 / share + 1e-9)


def device_environment(device: str | None, share: float) -> dict[str, str]:
    """Return the settings by which a worker uses its share of a device; without one (None) it uses none."""
    if device is None:
        return {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
    return {"CUDA_VISIBLE_DEVICES": device} | memory_environment(share)


def memory_environment(share: float) -> dict[str, str]:
    """Return the setting by which JAX takes a share of a device's memory; JAX decides for a whole one."""
    return {} if share == 1 else {"XLA_PYTHON_CLIENT_MEM_FRACTION": f"{USABLE_MEMORY * share:.3g}"}


class Devices:
    """The devices that the workers of one runner may use, by how many use each."""

    def __init__(self, names: list[str]):
        self.names = names
        self._uses: Counter[str] = Counter()

    def lend(self) -> str | None:
        """Lend the device that the fewest workers use; None where there is no device."""
        device = min(self.names, key=lambda name: self._uses[name], default=None)
        if device is not None:
            self._uses[device] += 1
        return device

    def take_back(self, device: str | None) -> None:
        """Take a device back from a worker that has ended."""
        if device is not None:
            self._uses[device] -= 1
