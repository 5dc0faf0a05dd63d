"""Show the trainings that run at this moment, on the terminal or to a browser. Reads only, so it can
be started and ended beside anything."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from rich.console import Console, RenderableType
from rich.live import Live

from bld.watching.page import watch_page
from bld.watching.server import server


def main() -> None:
    """Print the page again and again until Ctrl-C, once, or serve it."""
    parser = ArgumentParser(prog="python -m bld.stages.watch", description=__doc__)
    parser.add_argument("--checkpoints", type=Path, default=Path("checkpoints"))
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--every", type=_seconds, default=5, metavar="SECONDS", help="default: 5")
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--once", action="store_true", help="print the page and end")
    way.add_argument(
        "--serve",
        type=_address,
        metavar="[HOST:]PORT",
        help="show a page to browsers of this machine (or of others, if HOST says so: it has no password). "
        "From your own machine: ssh -L 8000:127.0.0.1:8000 THIS-MACHINE, then open http://127.0.0.1:8000",
    )
    arguments = parser.parse_args()
    look = partial(watch_page, arguments.checkpoints, arguments.results)
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    console = Console(markup=False, highlight=False, emoji=False)
    with suppress(KeyboardInterrupt):
        if arguments.once:
            console.print(look())
        elif arguments.serve:
            _serve(arguments.serve, look, arguments.every)
        else:
            _show(console, look, arguments.every)


def _show(console: Console, look: Callable[[], RenderableType], every: float) -> None:
    if not console.is_terminal:
        while True:
            console.print(look())
            time.sleep(every)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(look(), refresh=True)
            time.sleep(every)


def _serve(address: tuple[str, int], look: Callable[[], RenderableType], every: float) -> None:
    host, port = address
    try:
        serving = server(host, port, look, every)
    except OSError as error:
        raise SystemExit(
            f"{host}:{port} cannot be served: {error.strerror}; take another port"
        ) from None
    with serving:
        print(f"http://{host}:{serving.server_port} shows it until Ctrl-C", flush=True)
        serving.serve_forever()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise ArgumentTypeError(f"expected PORT or HOST:PORT, found {text!r}")
    return host or "127.0.0.1", int(port)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise ArgumentTypeError(f"expected a number of seconds above 0, found {text!r}")
    return seconds


if __name__ == "__main__":
    main()
