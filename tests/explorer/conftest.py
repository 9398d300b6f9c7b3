"""A browser, and the explorer in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect, sync_playwright

#: milliseconds to wait for what a page shows: machines that run tests are busy
PATIENCE = 120_000
expect.set_options(timeout=PATIENCE)

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium. Skips where there is none, except where SOFTKNEE_BROWSER=required says that there must be."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        if os.environ.get("SOFTKNEE_BROWSER") == "required":
            pytest.fail("Chromium is missing, and SOFTKNEE_BROWSER says that it is required")
        pytest.skip("needs Chromium on the PATH (Debian: chromium)")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"], timeout=PATIENCE)
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page, written by the worker that needs it first."""
    from softknee.explorer import write

    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    where = tmp_path_factory.getbasetemp().parent if run else tmp_path_factory.getbasetemp()
    path = where / f"explorer-{run}.html"
    if not path.exists():
        write(tmp_path_factory.mktemp("explorer") / "explorer.html").replace(path)
    return path


@pytest.fixture
def visit(browser: Any, page_file: Path) -> Iterator[Callable[..., Any]]:
    """visit(fragment, width=..., dark=...): the page in a new tab. Any message on its console is a failure."""
    said: list[str] = []
    contexts = []

    def go(fragment: str = "", width: int = 1280, dark: bool = False) -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme="dark" if dark else "light", offline=True
        )
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: said.append(request.url) if request.url[:4] == "http" else None)
        tab.goto(page_file.as_uri() + fragment)
        return tab

    yield go
    for context in contexts:
        context.close()
    assert not said


@pytest.fixture(scope="module")
def loaded(browser: Any, page_file: Path) -> Iterator[tuple[Any, list[str]]]:
    """The page in a tab that stays, and what its console says."""
    said: list[str] = []
    context = browser.new_context(offline=True)
    context.set_default_timeout(PATIENCE)
    tab = context.new_page()
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.goto(page_file.as_uri())
    yield tab, said
    context.close()


#: A new address, and waits until the page has read it (its own listener is older than ours). The address that is
#: replaced first differs from every view's: going to where one is tells nobody.
GO = """([fragment, patience]) => new Promise((done, fail) => {
    setTimeout(() => fail(new Error(`the page does not read ${fragment}`)), patience);
    addEventListener("hashchange", done, { once: true });
    history.replaceState(null, "", "#elsewhere");
    location.hash = fragment;
})"""


@pytest.fixture
def look(loaded: tuple[Any, list[str]]) -> Iterator[Callable[..., Any]]:
    """As `visit`, in a tab that is loaded once for all tests: its address changes, and what it shows with it."""
    tab, said = loaded

    def go(fragment: str = "#f=relu", width: int = 1280, dark: bool = False) -> Any:
        tab.set_viewport_size({"width": width, "height": 800})
        tab.emulate_media(color_scheme="dark" if dark else "light")
        tab.evaluate(GO, [fragment, PATIENCE])
        return tab

    yield go
    assert not said
