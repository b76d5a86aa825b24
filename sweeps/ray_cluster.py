"""The connection to a Ray cluster: that of RAY_ADDRESS, or one on this machine for as long as a run lasts."""

import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any

from sqzx.errors import InputError
from sqzx.provenance import available_cores
from sweeps.devices import has_accelerator, visible_devices
from sweeps.executors import Resources

LOOPBACK = ("127.", "localhost:")
KNOCK_SECONDS = 10.0
LONG_PATH = 30
OBJECT_STORE_BYTES = 200 << 20


def connected(exits: ExitStack, resources: Resources) -> Any:
    """Return the module `ray`, connected to the cluster of RAY_ADDRESS or to one started here for the run."""
    address = os.environ.get("RAY_ADDRESS", "")
    if address.startswith("ray://"):
        raise InputError(
            f"RAY_ADDRESS={address}: a run needs the cluster's own address (HOST:6379), from one of its nodes"
        )
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if "ray" not in sys.modules:  # Ray reads these when it is imported
        if not address or address.startswith(LOOPBACK):
            os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # keeps it to the loopback address
        if not address:
            # A token keeps other users of this machine out. Ray's own would lie in the home folder.
            os.environ.setdefault("RAY_AUTH_MODE", "token")
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    try:
        import ray
        import ray._private.worker
        import ray.util.scheduling_strategies
    except ImportError:
        raise InputError(
            "--executor ray: Ray is not installed; pip install 'ray>=2.60', or take --executor local"
        ) from None
    if ray.is_initialized():  # a notebook's own
        return ray
    # Ray quotes a dying node's log on standard output, in colour; the run tells it in a line of its own.
    ray._private.worker._worker_logs_enabled = False  # ty: ignore[invalid-assignment]
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    with _signals_kept():
        if address:
            try:
                _knock(address)
                ray.init(address=address, **quiet)
            except (OSError, RuntimeError, ValueError) as error:
                reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
                raise InputError(f"RAY_ADDRESS={address}: no cluster to work with ({reason})") from None
        else:
            # Its sockets lie there, too, and their paths may have 107 bytes.
            place = tempfile.gettempdir()
            logs = tempfile.mkdtemp(prefix="sqzx-ray-", dir=place if len(place) < LONG_PATH else "/tmp")
            exits.callback(shutil.rmtree, logs, ignore_errors=True)
            uses_devices = has_accelerator(os.environ) if resources.gpus is None else resources.gpus > 0
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


def _knock(address: str) -> None:
    """See that somebody listens at an address, or raise OSError: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=KNOCK_SECONDS).close()


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
