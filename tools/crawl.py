"""Every page of the built documentation in a browser: `make pages`, or python tools/crawl.py [words of addresses].

At the width of a phone and of a desk, in light and in dark colours: nothing is wider than the window, every picture
is there, the console is silent, nothing is asked of another host, and axe finds nothing wrong for those who use a
keyboard, a screen reader or high contrast. The explorer is seen in several views; every link it offers exists.
"""

from __future__ import annotations

import http.server
import shutil
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, sync_playwright

import links

SITE = Path(__file__).parents[1] / "site"
WIDTHS = (360, 1280)
COLOURS = ("light", "dark")
VIEWS = (
    "", "#f=gelu;swish(beta=2);!x*tanh(a*x)&show=2", "#f=relu;softplus&view=second", "#f=swiglu", "#f=selu&tab=depth",
    "#f=gelu;gelu(approximate=tanh)&view=difference", "#f=swish(beta=2)&embed=1", "#f=prelu&lang=ru", "#f=elu&lang=zh", "#f=tanh&lang=ko&tab=depth",
)  # fmt: skip

# What is wider than the window, or cut off where nobody can scroll; pictures that are not there.
LAYOUT = """async () => {
    await Promise.all(document.getAnimations().map(a => a.finished.catch(() => null)));
    const width = innerWidth, found = [], seen = e => e.checkVisibility({ visibilityProperty: true });
    if (document.documentElement.scrollWidth > width) {
        const wide = [...document.querySelectorAll("body *")].filter(e => seen(e) && e.getBoundingClientRect().right > width + 1);
        found.push(`wider than the window: ${wide.slice(0, 3).map(e => e.outerHTML.slice(0, 90)).join(" | ")}`);
    }
    for (const e of document.querySelectorAll("article *, .card *"))
        if (seen(e) && e.scrollWidth > e.clientWidth + 2 && getComputedStyle(e).overflowX === "hidden" && getComputedStyle(e).clipPath === "none")
            found.push(`cut off: ${e.outerHTML.slice(0, 90)}`);
    for (const image of document.images) if (seen(image) && image.complete && !image.naturalWidth) found.push(`no picture: ${image.src}`);
    return found;
}"""
AXE = {"resultTypes": ["violations"], "iframes": False}
LOADED = "() => [...document.images].every(i => i.complete || i.loading === 'lazy' || !i.checkVisibility())"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Its address while it is served from this machine."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()


def complaints(tab: Page, address: str, colours: str, access: bool) -> Iterator[str]:
    """What is wrong with one page, at every width; for axe at the desk in light colours, on the phone in dark ones."""
    tab.goto(address)
    tab.wait_for_function(LOADED)
    for width in WIDTHS if colours == "light" else reversed(WIDTHS):
        tab.set_viewport_size({"width": width, "height": 900})
        yield from (f"{width} px: {one}" for one in tab.evaluate(LAYOUT))
    found = Axe().run(tab, options=AXE).response["violations"] if access else []
    for rule in found:
        if rule["impact"] in ("serious", "critical"):
            for node in rule["nodes"][:3]:
                why = " ".join(node["failureSummary"].split())
                yield f"{rule['id']} ({rule['impact']}): {node['html'][:110]}: {why[:260]}"


def _listen(context: BrowserContext, base: str) -> list[str]:
    """What its pages say on the console, fail to load or ask of other hosts, as it comes."""
    said: list[str] = []
    context.on(
        "console", lambda m: said.append(f"console: {m.text}") if m.type in ("error", "warning") else None
    )
    context.on("weberror", lambda e: said.append(f"error: {e.error}"))
    context.on("response", lambda r: said.append(f"{r.status} {r.url}") if r.status >= 400 else None)
    context.on(
        "request", lambda r: None if r.url.startswith((base, "data:")) else said.append(f"asks for {r.url}")
    )
    return said


def crawl(site: Path, addresses: list[tuple[str, bool]]) -> int:
    """Prints the complaints about these pages, and counts them; with each, whether axe is asked, too."""
    count = 0
    with served(site) as base, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        for (address, access), colours in product(addresses, COLOURS):
            # a chapter in English is not sent on to a translation
            context = browser.new_context(locale="en-GB", color_scheme=colours)
            context.set_default_timeout(120_000)
            tab, said = context.new_page(), _listen(context, base)
            found = [*complaints(tab, base + address, colours, access), *said, *_dead(tab, site, address)]
            for one in found:
                print(f"{address}, {colours}: {one}", flush=True)
            count += len(found)
            context.close()
        browser.close()
    return count


def _dead(tab: Page, site: Path, address: str) -> list[str]:
    """Links that the explorer writes itself."""
    if not address.startswith(links.EXPLORER):
        return []
    inside = tab.eval_on_selector_all("a[href]", "all => all.map(a => a.getAttribute('href'))")
    return [f"dead link {a}" for a in inside if not links.leads_somewhere(site, site / links.EXPLORER, a)]


def chromium() -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    return found or sys.exit("needs Chromium on the PATH (Debian: chromium)")


def sampled(addresses: list[str], most: int = 30) -> Iterator[tuple[str, bool]]:
    """With each, whether axe is asked: not of every page of a kind that was generated by the dozen."""
    kinds: dict[str, int] = Counter(kind(a) for a in addresses)
    seen: dict[str, int] = Counter()
    for address in addresses:
        every = -(-kinds[kind(address)] // 4) if kinds[kind(address)] > most else 1
        yield address, seen[kind(address)] % every == 0
        seen[kind(address)] += 1


def kind(address: str) -> str:
    return address.partition("#")[0].rstrip("/").rpartition("/")[0]


def main(words: list[str], workers: int = 2) -> None:
    if not (SITE / "index.html").exists():
        sys.exit("there is no site yet: make docs")
    addresses = [
        f"{path}{view}".removesuffix("index.html")
        for path in sorted(p.relative_to(SITE).as_posix() for p in SITE.rglob("*.html"))
        for view in (VIEWS if path == "explorer.html" else ("",))
        if path != "404.html"
    ]
    chosen = [
        (a, access) for a, access in sampled(addresses) if not words or any(word in a for word in words)
    ]
    dead = links.dead(SITE)
    print("\n".join(dead), end="\n" if dead else "")
    with ProcessPoolExecutor(workers) as pool:
        count = len(dead) + sum(pool.map(partial(crawl, SITE), [chosen[k::workers] for k in range(workers)]))
    print(f"{len(chosen)} pages and views, {count} complaints")
    sys.exit(bool(count))


if __name__ == "__main__":
    main(sys.argv[1:])
