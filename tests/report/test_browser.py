"""The page in a real browser, at the widths and colour schemes it is read in."""

from pathlib import Path

import pytest

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser: {CHROMIUM} is missing (apt-get install chromium)")
def test_the_page_opens_cleanly_wide_and_narrow_in_light_and_dark(planted_page: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")

    url = planted_page.resolve().as_uri()
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        papers: set[str] = set()
        for width in (1280, 360):
            for scheme in ("light", "dark"):
                view = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
                complaints: list[str] = []
                requests: list[str] = []
                view.on("console", lambda message, c=complaints: c.append(message.text))
                view.on("pageerror", lambda error, c=complaints: c.append(str(error)))
                view.on("request", lambda request, r=requests: r.append(request.url))
                view.goto(url)
                where = f"{width}px {scheme}"
                assert view.locator("#headline").is_visible(), where
                assert "Improved" in view.locator("#headline").inner_text(), where
                view.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
                assert view.evaluate("document.documentElement.scrollWidth") <= width, where
                shown = view.locator("figure svg:visible")
                assert shown.count() == 5, where
                assert all(shown.nth(i).bounding_box()["width"] <= width for i in range(5)), where
                # Text that the browser shrinks below nine pixels cannot be read on a phone.
                sizes = view.evaluate(
                    "[...document.querySelectorAll('figure svg text')].filter(t => t.checkVisibility()).map(t =>"
                    " parseFloat(getComputedStyle(t).fontSize) * t.ownerSVGElement.getScreenCTM().a)"
                )
                assert min(sizes) >= 9, where
                papers.add(view.evaluate("getComputedStyle(document.body).backgroundColor"))
                assert complaints == [], where
                assert requests == [url], where
                view.close()
        assert len(papers) == 2, "dark looks like light"
        browser.close()
