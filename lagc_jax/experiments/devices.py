"""The devices that a sweep runs on.

XLA runs every host device on a thread of one pool, in which it also splits large operations: with
as many devices as threads, all of them can come to wait for a thread that none has. So the pool is
asked to be larger before JAX starts, and where it is too small, fewer devices are used.
"""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from lagc_jax._checks import warn

# Where XLA reads the size of its pool: older versions know the second alone, newer ones prefer the
# first.
VARIABLES = ("PJRT_NPROC", "NPROC")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def widen_pool() -> None:
    """Ask for more threads than there will be host devices; to be called before JAX starts."""
    flag = re.search(r"host_platform_device_count=(\d+)", os.environ.get("XLA_FLAGS", ""))
    devices = max(int(flag[1]) if flag else 1, jax.config.values["jax_num_cpu_devices"])
    if devices > 1 and not any(name in os.environ for name in VARIABLES):
        os.environ |= dict.fromkeys(VARIABLES, str(cores() + devices))


def _threads() -> int:
    """Threads of XLA's pool: as many as there are, or where that cannot be seen, were asked for.

    What the variables say now may not be what they said when JAX started.
    """
    names = []
    for task in Path("/proc/self/task").glob("*/comm"):
        with suppress(OSError):  # a thread may end meanwhile
            names.append(task.read_text().strip())
    asked = [int(os.environ[name]) for name in VARIABLES if os.environ.get(name, "").isdecimal()]
    return names.count("tf_XLAEigen") or min(asked, default=cores())


def count_devices() -> list[dict[str, Any]]:
    """Kind, platform and number of the devices of this process, a description a kind."""
    found = Counter((each.device_kind, each.platform) for each in jax.local_devices())
    return [{"kind": k, "platform": p, "count": n} for (k, p), n in sorted(found.items())]


def describe_devices(counted: Sequence[Mapping[str, Any]]) -> str:
    """Devices in words, without their number."""
    return " and ".join(f"{each['kind']} ({each['platform']})" for each in counted)


def local_mesh() -> Mesh:
    """All devices of this process in a row, fewer where they could wait for each other forever.

    Warns:
        RuntimeWarning: where that leaves devices out, and where they are of several kinds.
    """
    devices = jax.local_devices()
    if len(kinds := count_devices()) > 1:
        warn(
            f"this process has devices of several kinds ({describe_devices(kinds)}), and the last "
            f"digits of a point depend on which computes it; show JAX those of one kind, with "
            f"CUDA_VISIBLE_DEVICES for instance"
        )
    threads = _threads()
    if devices[0].platform == "cpu" and len(devices) > 1 and len(devices) >= threads:
        usable = max(threads - 1, 1)
        warn(
            f"{usable} of {len(devices)} host devices are used, for XLA has {threads} threads; set "
            f"{' and '.join(VARIABLES)} in the environment to {cores() + len(devices)} before JAX "
            f"starts"
        )
        devices = devices[:usable]
    return Mesh(np.array(devices), ("devices",))


def accelerated(mesh: Mesh) -> bool:
    """Whether the devices are fed by the host and fast at many alike tasks at once: no CPUs."""
    return mesh.devices.flat[0].platform != "cpu"
