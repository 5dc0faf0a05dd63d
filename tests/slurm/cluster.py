"""A real SLURM of several emulated nodes on this machine, started from nothing and thrown away.

The daemons of Debian's packages run without systemd: munge with a key of its own, one controller, a
slurmd for every node (own name and port, one kernel), and if asked for a MariaDB with slurmdbd.
GPUs are null devices, so SLURM counts them and sets CUDA_VISIBLE_DEVICES; memory and CPUs are what
the nodes claim to have, whatever the machine has. Needs root. By hand:

    python tests/slurm/cluster.py start --nodes 3
    python tests/slurm/cluster.py stop
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PREFIX = Path("/tmp/bld-slurm")
SYSTEM = Path("/etc/slurm")
HOSTS = Path("/etc/hosts")
MARK = "# emulated nodes of the tests"
PROGRAMS = ["munged", "slurmctld", "slurmd", "srun"]
ACCOUNTING_PROGRAMS = ["slurmdbd", "mariadbd", "mariadb-install-db"]
PARTITIONS = {"cpu": "UNLIMITED", "gpu": "UNLIMITED"}
ACCOUNT = "ci"

SLURM_CONF = """\
ClusterName=ci
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=16817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={prefix}/munge/socket
MpiDefault=none
SlurmctldPidFile={prefix}/slurmctld.pid
SlurmdPidFile={prefix}/slurmd.%n.pid
SlurmdSpoolDir={prefix}/spool/%n
StateSaveLocation={prefix}/state
SlurmctldLogFile={prefix}/log/slurmctld.log
SlurmdLogFile={prefix}/log/slurmd.%n.log
SlurmdParameters=config_overrides
SwitchType=switch/none
SchedulerParameters=sched_interval=2,sched_min_interval=20000,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
PropagateResourceLimits=NONE
ReturnToService=2
MinJobAge=3600
KillWait={kill_wait}
RebootProgram=/bin/true
GresTypes=gpu
"""
# A job beyond its memory is killed by the kernel where it has control groups (version 1: version 2
# needs systemd), and else by SLURM, which looks every second.
WITH_CONTROL_GROUPS = """\
ProctrackType=proctrack/cgroup
TaskPlugin=task/cgroup
JobAcctGatherType=jobacct_gather/cgroup
"""
WITHOUT_CONTROL_GROUPS = """\
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
"""
CGROUP_CONF = """\
CgroupPlugin=autodetect
CgroupAutomount=yes
ConstrainRAMSpace=yes
"""
WITHOUT_ACCOUNTS = "AccountingStorageType=accounting_storage/none\n"
WITH_ACCOUNTS = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=16819
AccountingStoragePass={prefix}/munge/socket
AccountingStorageEnforce=associations,limits,qos
AccountingStoreFlags=job_comment
AccountingStorageTRES=gres/gpu
JobAcctGatherFrequency=task=1
"""
SLURMDBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket={prefix}/munge/socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=16819
SlurmUser=root
LogFile={prefix}/log/slurmdbd.log
PidFile={prefix}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=13306
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
"""
DATABASE_USER = """\
create user slurm@localhost identified by 'slurm';
create database slurm_acct_db;
grant all on slurm_acct_db.* to slurm@localhost;
"""


def missing(accounts: bool = False) -> list[str]:
    """What this machine lacks to be a cluster."""
    programs = PROGRAMS + ACCOUNTING_PROGRAMS * accounts
    lacking = [name for name in programs if not shutil.which(name, path=search_path())]
    return lacking + ["root"] * (os.geteuid() != 0)


def search_path() -> str:
    """Where programs are looked for; daemons lie in places that users' paths leave out."""
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


@dataclass(frozen=True)
class Cluster:
    """What a cluster claims to have: `nodes` of `cpus`, `memory_mb` and `gpus` each; `accounts`, a
    database of jobs. `kill_wait`: seconds from SIGTERM to SIGKILL."""

    nodes: int = 3
    cpus: int = 16
    memory_mb: int = 512_000
    gpus: int = 4
    accounts: bool = False
    kill_wait: int = 30
    prefix: Path = PREFIX

    def start(self) -> None:
        """Start the daemons; raises RuntimeError if the nodes do not come up."""
        self.stop()
        for folder in ("munge", "state", "spool", "log", "conf"):
            (self.prefix / folder).mkdir(parents=True)
        self.prefix.chmod(0o755)
        self._start_munge()
        self._write_configuration()
        if self.accounts:
            self._start_accounting()
        run("slurmctld")
        for name in self._names():
            run("slurmd", "-N", name)
        try:
            wait_until(
                lambda: (
                    said("sinfo", "-h", "-p", "cpu", "-t", "idle", "-o", "%D") == str(self.nodes)
                )
            )
        except TimeoutError:
            logs = [path.read_text()[-1000:] for path in (self.prefix / "log").glob("*.log")]
            raise RuntimeError("\n".join(["the nodes did not come up", *logs])) from None

    def stop(self) -> None:
        """Stop the daemons, if any run, and leave the machine as it was."""
        if not self.prefix.exists():
            return
        with suppress(OSError, subprocess.CalledProcessError):
            run("scancel", "--user", "root", "--signal", "KILL", "--full")
        order = (
            "slurmd.*.pid",
            "slurmctld.pid",
            "slurmdbd.pid",
            "mariadbd.pid",
            "munge/munged.pid",
        )
        for pattern in order:
            for file in self.prefix.glob(pattern):
                end_process(int(file.read_text()))
        for path in (self.prefix / "conf").glob("*"):
            link = SYSTEM / path.name
            if link.is_symlink() and link.readlink() == path:
                link.unlink()
        kept = [line for line in HOSTS.read_text().splitlines(keepends=True) if MARK not in line]
        HOSTS.write_text("".join(kept))
        shutil.rmtree(self.prefix)

    def _names(self) -> list[str]:
        return [f"n{number}" for number in range(1, self.nodes + 1)]

    def _start_munge(self) -> None:
        folder = self.prefix / "munge"
        (folder / "key").write_bytes(os.urandom(1024))
        (folder / "key").chmod(0o400)
        for path in (folder, folder / "key"):
            shutil.chown(path, "munge")
        files = {"key-file": "key", "socket": "socket", "pid-file": "munged.pid"}
        files |= {"log-file": "log", "seed-file": "seed"}
        options = [f"--{option}={folder / name}" for option, name in files.items()]
        run("runuser", "-u", "munge", "--", shutil.which("munged", path=search_path()), *options)

    def _write_configuration(self) -> None:
        if SYSTEM.joinpath("slurm.conf").exists():
            raise RuntimeError(f"{SYSTEM} belongs to another SLURM; the tests start none beside it")
        controlled = (
            "memory" in Path("/proc/cgroups").read_text() and Path("/sys/fs/cgroup/memory").exists()
        )
        nodes = "".join(
            f"NodeName={name} NodeHostname={name} NodeAddr=127.0.0.1 Port={17000 + number} "
            f"CPUs={self.cpus} RealMemory={self.memory_mb} Gres=gpu:{self.gpus} State=UNKNOWN\n"
            for number, name in enumerate(self._names())
        )
        partitions = "".join(
            f"PartitionName={name} Nodes=ALL MaxTime={limit} DefaultTime=10 State=UP\n"
            for name, limit in PARTITIONS.items()
        )
        general = SLURM_CONF.format(
            prefix=self.prefix, host=socket.gethostname().split(".")[0], kill_wait=self.kill_wait
        )
        accounting = WITH_ACCOUNTS if self.accounts else WITHOUT_ACCOUNTS
        tracking = WITH_CONTROL_GROUPS if controlled else WITHOUT_CONTROL_GROUPS
        conf = self.prefix / "conf"
        (conf / "slurm.conf").write_text(
            general + tracking + accounting.format(prefix=self.prefix) + nodes + partitions
        )
        (conf / "cgroup.conf").write_text(CGROUP_CONF)
        devices = [self.prefix / f"gpu{number}" for number in range(self.gpus)]
        for device in devices:
            os.mknod(device, 0o666 | 0o020000, os.makedev(1, 3))
        (conf / "gres.conf").write_text(
            "".join(f"NodeName={n} Name=gpu File={d}\n" for n in self._names() for d in devices)
        )
        if self.accounts:
            (conf / "slurmdbd.conf").write_text(SLURMDBD_CONF.format(prefix=self.prefix))
            (conf / "slurmdbd.conf").chmod(0o600)
        # Snakemake's plugin takes SLURM_CONF out of the environment of its jobs: only the usual
        # place is found.
        SYSTEM.mkdir(exist_ok=True)
        for path in conf.iterdir():
            (SYSTEM / path.name).symlink_to(path)
        with HOSTS.open("a") as hosts:
            hosts.write(f"127.0.0.1 {' '.join(self._names())} {MARK}\n")

    def _start_accounting(self) -> None:
        data, log = self.prefix / "database", self.prefix / "log"
        data.mkdir(mode=0o700)
        shutil.chown(data, "mysql")
        where = ["--no-defaults", f"--datadir={data}"]
        run("mariadb-install-db", *where, "--user=mysql", "--skip-test-db")
        # Its socket lies beside it, where root's tools may read.
        options = [*where, "--user=mysql", f"--socket={data}/socket", "--port=13306"]
        with (log / "mariadbd.log").open("w") as output:
            server = subprocess.Popen(
                ["mariadbd", *options, "--bind-address=127.0.0.1"],
                env=os.environ | {"PATH": search_path()},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        (self.prefix / "mariadbd.pid").write_text(str(server.pid))
        client = ["mariadb", "--no-defaults", f"--socket={data}/socket", "--execute"]
        wait_until(lambda: succeeds(*client, "select 1"))
        run(*client, DATABASE_USER)
        run("slurmdbd")
        wait_until(lambda: succeeds("sacctmgr", "--noheader", "list", "cluster"))
        for words in (
            ["cluster", "ci"],
            ["account", ACCOUNT, "cluster=ci"],
            ["user", "root", f"account={ACCOUNT}", f"defaultaccount={ACCOUNT}", "cluster=ci"],
        ):
            # It exits with 1 where what is added was there.
            succeeds("sacctmgr", "--immediate", "--quiet", "add", *words)


def run(*command: str | None) -> str:
    """What a program prints; raises CalledProcessError if it fails."""
    environment = os.environ | {"PATH": search_path()}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return done.stdout.strip()


def said(*command: str) -> str | None:
    """What a program prints, None if it fails."""
    try:
        return run(*command)
    except subprocess.CalledProcessError:
        return None


def succeeds(*command: str) -> bool:
    """Whether a program ends well."""
    return said(*command) is not None


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Ask ten times a second; raises TimeoutError after so many `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not so after {seconds} seconds")
        time.sleep(0.1)


def end_process(process: int) -> None:
    """SIGTERM, then SIGKILL after ten seconds."""

    def gone() -> bool:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        # A child that has ended and was not waited for.
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"

    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGTERM)
        try:
            wait_until(gone, seconds=10)
        except TimeoutError:
            os.kill(process, signal.SIGKILL)


def main() -> None:
    """Start or stop a cluster by hand."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("action", choices=["start", "stop"])
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--accounts", action="store_true")
    arguments = parser.parse_args()
    cluster = Cluster(nodes=arguments.nodes, accounts=arguments.accounts)
    if arguments.action == "stop":
        cluster.stop()
    elif lacking := missing(arguments.accounts):
        parser.error(f"this machine lacks: {', '.join(lacking)}")
    else:
        cluster.start()
        print(run("sinfo"))


if __name__ == "__main__":
    main()
