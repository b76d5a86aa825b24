"""The connection to a Ray cluster: that of RAY_ADDRESS, or one on this machine for as long as a run lasts."""

import logging
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any

from sqzx.errors import InputError
from sqzx.provenance import available_cores, has_accelerator
from sweeps.devices import visible_devices
from sweeps.executors import Resources

OBJECT_STORE_BYTES = 200 << 20


def connected(exits: ExitStack, resources: Resources) -> Any:
    """Return the module `ray`, connected to the cluster of RAY_ADDRESS or to one started here for the run."""
    address = os.environ.get("RAY_ADDRESS", "")
    if address.startswith("ray://"):
        raise InputError(
            f"RAY_ADDRESS={address}: a run needs the cluster's own address (HOST:6379), from one of its nodes"
        )
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if not address:
        # Ray reads these when it is imported. The first keeps it to the loopback address; the token keeps
        # other users of this machine out, and Ray from writing one into the home folder.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError:
        raise InputError(
            "--executor ray: Ray is not installed; pip install 'ray>=2.60', or take --executor local"
        ) from None
    if ray.is_initialized():  # a notebook's own
        return ray
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    with _signals_kept():
        if address:
            try:
                ray.init(address=address, **quiet)
            except (ConnectionError, RuntimeError, ValueError) as error:
                reason = str(error).strip().splitlines()[0]
                raise InputError(f"RAY_ADDRESS={address}: no cluster to work with ({reason})") from None
        else:
            logs = tempfile.mkdtemp(prefix="sqzx-ray-")
            exits.callback(shutil.rmtree, logs, ignore_errors=True)
            uses_devices = has_accelerator() if resources.gpus is None else resources.gpus > 0
            ray.init(
                address="local",
                num_cpus=len(available_cores()),
                num_gpus=len(visible_devices(os.environ)) if uses_devices else 0,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                _node_ip_address="127.0.0.1",
                _temp_dir=logs,
                **quiet,
            )
    exits.callback(ray.shutdown)
    return ray


@contextmanager
def _signals_kept() -> Generator[None]:
    """Keep our handlers, which Ray replaces; its processes outlive a closed terminal until we end them."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
