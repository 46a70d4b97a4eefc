"""The built site, served, and the system's Chromium to read it with; without one these tests are skipped."""

import functools
import http.server
import shutil
import threading

import pytest
from site_in_browser import BROWSERS, PATIENCE, SITE, Quiet, Reading


@pytest.fixture(scope="session")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip("no Chromium here: install the system's package (Debian: chromium)")
    sync_api.expect.set_options(timeout=PATIENCE)
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def served():
    """The address of the site on this machine."""
    if not (SITE / "index.html").is_file():
        pytest.skip(f"no site in {SITE}: run `python -m proofbook build --stored --strict` first")
    handler = functools.partial(Quiet, directory=str(SITE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def new_context(browser):
    """Makes contexts of the browser that nothing is known in, and that wait as long as it takes."""
    made = []

    def make(**options):
        made.append(browser.new_context(**options))
        made[-1].set_default_timeout(PATIENCE)
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def reading(new_context, served):
    """Opens pages of the site: ``reading("light", 390)``."""

    def start(theme="light", width=1280, home=None):
        return Reading(new_context, home or served, theme, width)

    return start
