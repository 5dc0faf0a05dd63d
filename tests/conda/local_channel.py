"""Make the channel of the conda stand-in: python tests/conda/local_channel.py FOLDER

It holds skeletons of what envs/*.yaml pin: names and versions without content. `python` alone has
some, that of a virtual environment: its interpreter is the one that runs the tests, its prefix is
that of the environment which it is part of, behind its own packages it sees those of the tests, and
it refuses the network. So jobs run for real in the environments that Snakemake had made, and making
them takes a second.

A package that is asked for in a build of a kind, such as `pytorch=2.13.0=cuda*`, is there without
CUDA too, newer, as the solver would have it on a machine without a GPU.
"""

import asyncio
import hashlib
import io
import json
import os
import site
import sys
import tarfile
from pathlib import Path

import yaml
from rattler.index import index_fs

TESTS = Path(__file__).resolve().parents[1]
LIBRARY = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
INTERPRETER = Path(sys.executable).resolve()


def python_files():
    """What `python` consists of: texts, and the target of a link, by path."""
    packages = [path for path in site.getsitepackages() if Path(path).exists()]
    return {
        "bin/python": INTERPRETER,
        "bin/python3": Path("python"),
        "pyvenv.cfg": f"home = {INTERPRETER.parent}\n",
        f"{LIBRARY}/tests.pth": "\n".join([*packages, "import no_network\n"]),
        f"{LIBRARY}/no_network.py": (TESTS / "workflow/no_network/sitecustomize.py").read_text(),
    }


def write_package(folder, name, version, build, number=0, depends=(), files=None):
    """A package in conda's older format: an archive of files and of what stands about them in
    info/."""
    files = files or {}
    index = {
        "name": name,
        "version": version,
        "build": build,
        "build_number": number,
        "depends": list(depends),
        "subdir": folder.name,
    }
    paths = [
        {
            "_path": path,
            "path_type": "softlink" if isinstance(content, Path) else "hardlink",
            "sha256": hashlib.sha256(str(content).encode()).hexdigest(),
        }
        for path, content in files.items()
    ]
    about = {
        "info/index.json": json.dumps(index),
        "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}),
    }
    with tarfile.open(folder / f"{name}-{version}-{build}.tar.bz2", "w:bz2") as archive:
        for path, content in (files | about).items():
            member = tarfile.TarInfo(path)
            if isinstance(content, Path):
                member.type, member.linkname = tarfile.SYMTYPE, str(content)
                archive.addfile(member)
            else:
                data = content.encode()
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


def main():
    channel = Path(sys.argv[1])
    folder = channel / "linux-64"
    folder.mkdir(parents=True)
    (channel / "noarch").mkdir()
    pins = set()
    for environment in (TESTS.parent / "envs").glob("*.yaml"):
        pins.update(yaml.safe_load(environment.read_text())["dependencies"])
    for pin in pins:
        name, version, *kind = pin.split("=")
        files = python_files() if name == "python" else {}
        write_package(folder, name, version, "skeleton_1", number=1, files=files)
        if kind:
            build = kind[0].replace("*", "_skeleton_0")
            write_package(folder, name, version, build, depends=["__cuda"])
    asyncio.run(index_fs(channel, write_zst=False, write_shards=False))


main()
# Threads of rattler that are still there have crashed the interpreter at its end.
os._exit(0)
