"""One trainer at a time in a folder: a lock that the kernel gives back when its holder dies, however
it dies.

The lock is flock(2) on a file in which the holder writes its name. On NFS it holds between machines
(Linux makes it a lock of the server, which gives it back when a machine is gone for its lease, some
90 s); on Lustre it does so only if mounted with `-o flock`. Where a file system has no locks this is
said, and nothing is locked.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

NOT_SUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder`, which is made if need be; it may be removed while it is held.

    Raises RuntimeError, naming the holder, if another process holds it.
    """
    file = _lock(folder)
    try:
        file.truncate(0)
        json.dump(_name(), file)
        file.flush()
        yield
    finally:
        file.close()


def _lock(folder: Path) -> TextIO:
    path = folder / "lock"
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(path, "a+", encoding="utf-8")  # noqa: SIM115, closed by `locked`
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read()
            file.close()
            raise RuntimeError(
                f"{folder} is held by another trainer: {_told(holder)}. Wait for it to end or end it, "
                "then start again; this one has changed nothing"
            ) from None
        except OSError as error:
            if error.errno not in NOT_SUPPORTED:
                raise
            print(
                f"{folder}: no locks on this file system ({error.strerror}); run one trainer only"
            )
            return file
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()  # The folder was removed by the holder before us.


def _name() -> dict[str, str | int]:
    name: dict[str, str | int] = {
        "host": os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        "pid": os.getpid(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    job = os.environ.get("SLURM_JOB_ID")
    return name | ({"slurm_job": job} if job else {})


def _told(holder: str) -> str:
    try:
        name = json.loads(holder)
    except ValueError:
        return "one that has not written its name yet"
    job = f", SLURM job {name['slurm_job']}" if "slurm_job" in name else ""
    return f"process {name['pid']} on {name['host']}{job}, since {name['since']}"
