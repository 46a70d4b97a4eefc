"""A built site, and a page of it that is open in a browser, with what went wrong while it was read."""

import http.server
import os
from pathlib import Path

ROOT = Path(__file__).parents[1]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

PATIENCE = 300_000
"""Milliseconds that a test waits for what must come: that a busy machine is slow is no error of a page."""

SITE = Path(os.environ.get("PROOFBOOK_SITE", ROOT / "_build/strict/_build/html"))
"""The site that is read: what ``build --stored --strict`` made, or another that is named."""


def pages():
    """The pages of the site by their path in it, largest first: neither templates, nor what only leads on."""
    found = (path for path in SITE.rglob("*.html") if "_static" not in path.relative_to(SITE).parts)
    largest = sorted(found, key=lambda path: (-path.stat().st_size, path))
    return [path.relative_to(SITE).as_posix() for path in largest if not leads_on(path)]


def leads_on(path):
    """Whether a page only leads to another."""
    return b'http-equiv="Refresh"' in path.read_bytes()[:500]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class Reading:
    """A page that is open, with what went wrong while it was read."""

    def __init__(self, new_context, home, theme="light", width=1280):
        scheme = "dark" if theme == "dark" else "light"
        self.context = new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
        self.home = home
        self.problems = []
        self.context.route("**/*", self._only_from_home)
        self.page = self.context.new_page()
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))

    def _only_from_home(self, route):
        if route.request.url.startswith((self.home, "data:", "blob:")):
            route.continue_()
        else:
            self.problems.append(f"asks for {route.request.url}")
            route.abort()

    def _said(self, message):
        if message.type == "error":
            self.problems.append(f"console: {message.text}")

    def open(self, name):
        self.page.goto(f"{self.home}/{name}", wait_until="load")
        return self.page
