"""One trainer at a time in a folder: a lock that the kernel gives back when its holder dies,
however it dies.

On NFS it holds between machines (Linux makes it a lock of the server, which gives it back when a
machine is gone for its lease, some 90 s); on Lustre it does so only if mounted with `-o flock`.
Where a file system has no locks a line is printed, and nothing is locked.
"""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from bld.files import write_json

NOT_SUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
SECONDS_TO_TRY = 1


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder`, which is made if need be, and write into holder.json who holds it.

    Raises RuntimeError, naming the holder, if another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # A lock that is a file's existence would outlive a holder that is killed.
    lock = FileLock(folder / "lock", timeout=SECONDS_TO_TRY, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise RuntimeError(
            f"{folder} is held by another trainer: {_holder(folder)}. Wait for it to end or end "
            "it, then start again; this one has changed nothing"
        ) from None
    except OSError as error:
        if error.errno not in NOT_SUPPORTED:
            raise
        print(f"{folder}: no locks on this file system ({error.strerror}); run one trainer only")
    try:
        write_json(folder / "holder.json", _name())
        yield
    finally:
        lock.release()


def _name() -> dict[str, str | int]:
    name: dict[str, str | int] = {
        "host": os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        "pid": os.getpid(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    job = os.environ.get("SLURM_JOB_ID")
    return name | ({"slurm_job": job} if job else {})


def _holder(folder: Path) -> str:
    try:
        name = json.loads((folder / "holder.json").read_text())
    except (OSError, ValueError):
        return "one that has not written its name yet"
    job = f", SLURM job {name['slurm_job']}" if "slurm_job" in name else ""
    return f"process {name['pid']} on {name['host']}{job}, since {name['since']}"
