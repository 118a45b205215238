"""The page in a real browser: it opens offline, the console is silent, something can be seen."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.bench.report.test_html import SECTIONS

# What Chromium itself asks its makers, whatever page is shown.
OWN = re.compile(r"https?://[\w.-]*\b(google|googleapis|gvt1|chromium)\.(com|org)/")


@dataclass(frozen=True)
class Shown:
    """What came of opening a page."""

    dom: str
    console: list[str]
    requests: list[str]
    picture: np.ndarray


def show(page: Path, folder: Path, width: int = 1400, dark: bool = False) -> Shown:
    browser = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
    if browser is None:
        pytest.skip("needs Chromium, which is not installed")
    done = subprocess.run(
        [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", "--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            f"--user-data-dir={folder / 'profile'}", f"--window-size={width},2400",
            f"--screenshot={folder / 'shot.png'}", f"--log-net-log={folder / 'net.json'}",
            "--enable-logging=stderr", "--dump-dom", page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )  # fmt: skip
    asked = re.findall(r'"url":"(\w+://[^"]+)"', (folder / "net.json").read_text())
    picture = cv2.imread(str(folder / "shot.png"))
    assert picture is not None
    return Shown(
        dom=done.stdout,
        console=[line for line in done.stderr.splitlines() if "CONSOLE" in line],
        requests=[url for url in asked if not url.startswith("file:") and not OWN.match(url)],
        picture=picture,
    )


@pytest.fixture(scope="module")
def page(whole: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(whole, encoding="utf-8")
    return path


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (1400, True), (500, False)])
def test_it_opens_offline_and_shows_itself(
    page: Path, tmp_path: Path, width: int, dark: bool
) -> None:
    shown = show(page, tmp_path, width, dark)
    assert shown.console == []
    assert shown.requests == []
    for name in SECTIONS:
        assert f'id="{name}"' in shown.dom
    assert shown.dom.count("<svg") == 16
    assert shown.picture.shape[1] == width
    background = shown.picture[-1, 0].astype(int)
    assert bool(background.mean() < 60) is dark
    # Words and lines, everywhere from top to bottom.
    inked = np.abs(shown.picture.astype(int) - background).max(axis=2) > 80
    assert all(band.mean() > 0.003 for band in np.array_split(inked, 6))
    # Nothing sticks out to the right.
    assert not inked[:, -8:].any()


def test_the_browser_would_tell(tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text('<img src="http://192.0.2.1:9/x.png"><script>console.error("oh no")</script>')
    shown = show(bad, tmp_path)
    assert any("oh no" in line for line in shown.console)
    assert set(shown.requests) == {"http://192.0.2.1:9/x.png"}


def test_the_policy_keeps_everything_out(page: Path, tmp_path: Path) -> None:
    """Even if something came in, the page would not fetch it."""
    text = page.read_text(encoding="utf-8")
    worse = tmp_path / "worse.html"
    worse.write_text(
        text.replace("</main>", '<img src="http://192.0.2.1:9/x.png"></main>'), encoding="utf-8"
    )
    shown = show(worse, tmp_path)
    assert shown.requests == []
    assert any("Content Security Policy" in line for line in shown.console)
