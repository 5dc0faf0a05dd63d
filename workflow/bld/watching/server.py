"""The page for a browser: one address that is read and nothing else, made anew whenever it is asked
for; the browser asks again by itself."""

from __future__ import annotations

import io
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from rich.console import Console, RenderableType
from rich.terminal_theme import TerminalTheme

WIDTH = 72
# Background, foreground, and eight colours from black to white, each readable on its page. Dim text is drawn
# halfway between the first two, so that this background is nearer to the text than that of the page is.
THEMES = {
    "light": TerminalTheme(
        (200, 200, 200),
        (0, 0, 0),
        [
            *((0, 0, 0), (180, 20, 20), (0, 110, 40), (135, 90, 0)),
            *((20, 70, 180), (130, 30, 130), (0, 105, 120), (90, 90, 90)),
        ],
    ),
    "dark": TerminalTheme(
        (60, 60, 60),
        (255, 255, 255),
        [
            *((120, 120, 120), (255, 120, 110), (110, 205, 120), (225, 185, 80)),
            *((130, 170, 255), (225, 140, 225), (90, 200, 215), (230, 230, 230)),
        ],
    ),
}
FRAME = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="{every:g}">
<title>Trainings</title>
<style>
:root {{ color-scheme: light dark; background: #fff; color: #222 }}
pre {{ font: clamp(8px, 2.1vw, 15px)/1.35 Menlo, "DejaVu Sans Mono", Consolas, monospace;
      width: {width}ch; max-width: 100%; margin: 1em auto; overflow-x: auto }}
.dark {{ display: none }}
@media (prefers-color-scheme: dark) {{
:root {{ background: #191919; color: #ddd }}
.light {{ display: none }}
.dark {{ display: block }}
}}
</style>
</head>
<body>
{light}
{dark}
</body>
</html>
"""


def as_html(page: RenderableType, every: float) -> str:
    """A whole document without scripts that the browser loads again after `every` seconds."""
    light, dark = (_drawn(page, name, theme) for name, theme in THEMES.items())
    return FRAME.format(every=every, width=WIDTH, light=light, dark=dark)


def _drawn(page: RenderableType, name: str, theme: TerminalTheme) -> str:
    console = Console(
        record=True, width=WIDTH, file=io.StringIO(), markup=False, highlight=False, emoji=False
    )
    console.print(page)
    code_format = f'<pre class="{name}">{{code}}</pre>'
    return console.export_html(theme=theme, code_format=code_format, inline_styles=True)


def server(
    host: str, port: int, make_page: Callable[[], RenderableType], every: float
) -> ThreadingHTTPServer:
    """A server bound to the address, which answers GET / as soon as it serves.

    Raises OSError if the address cannot be had.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/":
                self.send_error(404)
                return
            body = as_html(make_page(), every).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header(
                "Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"
            )
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: the page asks every few seconds."""

    return ThreadingHTTPServer((host, port), Handler)
