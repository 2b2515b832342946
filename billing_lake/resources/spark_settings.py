"""The default settings of a Spark session in this process."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from billing_lake.domain.errors import ConfigurationError, shown

LOCAL = "local[*]"
"""The master that is this process, with every core."""

LOOPBACK = "127.0.0.1"

_GIBIBYTE = 1 << 30
_LEAST_GIB, _MOST_GIB = 1, 16
_MEMORY = re.compile(r"[1-9]\d*[kmgt]b?", re.IGNORECASE)
_CGROUP = Path("/sys/fs/cgroup/memory.max")
_FEW_PARTITIONS = 8


def session_settings(master: str = LOCAL, driver_memory: str | None = None) -> dict[str, str]:
    """Return the settings of a session.

    Args:
        master: Spark's master: `local[4]` for four cores of this process, `spark://host:7077` for a cluster.
        driver_memory: Heap of the driver's JVM, such as `4g`; a quarter of the machine's where it is not given.

    Raises:
        ConfigurationError: The memory is no size.
    """
    memory = driver_memory or suitable_memory()
    if _MEMORY.fullmatch(memory) is None:
        what = f"The memory of Spark's driver is {shown(memory)!r}, which is no size"
        raise ConfigurationError(what, remedy="Write a number and a unit, such as 4g or 1500m")
    settings = {
        "spark.app.name": "billing-lake",
        "spark.master": master,
        "spark.driver.memory": memory,
        "spark.log.level": "WARN",
        "spark.sql.session.timeZone": "UTC",
        "spark.ui.enabled": "false",
        # Its bar would appear on the error stream of the process that started Spark.
        "spark.ui.showConsoleProgress": "false",
    }
    if is_local(master):
        settings |= {
            # Without these Spark listens on the machine's address in its network.
            "spark.driver.bindAddress": LOOPBACK,
            "spark.driver.host": LOOPBACK,
            # The default of 200 is for a cluster; here each one that is nearly empty still costs a task.
            "spark.sql.shuffle.partitions": str(max(os.cpu_count() or 1, _FEW_PARTITIONS)),
        }
    return settings


def is_local(master: str) -> bool:
    """Say whether the master is this process."""
    return master == "local" or master.startswith("local[")


def suitable_memory() -> str:
    """Return a quarter of the memory that this process may use, in whole GiB from 1 to 16.

    A billing month needs little: rows stream through. The rest is for the files that the system caches, and for other runs.
    """
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):  # no container, or one without a limit
        total = min(total, int(_CGROUP.read_text()))
    return f"{min(max(total // 4 // _GIBIBYTE, _LEAST_GIB), _MOST_GIB)}g"
