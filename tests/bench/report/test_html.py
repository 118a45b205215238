from __future__ import annotations

import base64
import dataclasses
import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from edgepose.bench.report import html
from edgepose.bench.report.pictures import data_uri
from edgepose.errors import InputError, MissingDependency
from tests.bench.artefacts import only, records

SECTIONS = (
    "warnings", "verdict", "budgets", "tradeoff", "latency", "accuracy", "worst", "memory",
    "power", "conditions",
)  # fmt: skip
MEASURED = ("latency", "memory", "cost", "power", "accuracy", "parity")


class Page(HTMLParser):
    """What a page holds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id" and value:
                self.ids.append(value)
            if name in ("src", "href") and value and not value.startswith("#"):
                self.addresses.append(value)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_all_of_it_is_there_and_nothing_from_elsewhere(whole: str) -> None:
    page = Page(whole)
    assert [name for name in page.ids if name in SECTIONS] == list(SECTIONS)
    assert len(page.ids) == len(set(page.ids))
    assert "script" not in page.tags
    assert all(address.startswith("data:") for address in page.addresses)
    assert "default-src 'none'" in whole
    assert "prefers-color-scheme: dark" in whole
    assert len(whole.encode()) < 1_000_000


def test_the_figures_and_their_labels_are_in_it(whole: str) -> None:
    text = " ".join("".join(Page(whole).texts).split())
    for words in (
        "6 artefacts on Example CPU E1 (made up), 2 cores",
        "It is not COCO val AP and cannot be compared with published figures.",
        "cannot load models/broken.onnx: it is truncated after 4096 bytes. Next: copy it again",
        "RAPL: /sys/class/powercap holds no package domain",
        "stages.0.blocks.0.conv",
        "throttle counters: this kernel has no thermal_throttle folder",
        "multiply-adds of convolutions and matrix products",
        "--coco data/coco --html",
        "left shoulder",
    ):
        assert words.lower() in text.lower(), words


def test_layers_that_artefacts_share_are_listed_once(whole: str) -> None:
    assert whole.count("stages.0.blocks.0.conv") == 2  # of two models, in five artefacts


def test_text_from_records_is_text() -> None:
    nasty = '<img src=x onerror="alert(1)">'
    record = records(1, label=nasty, command=f"edgepose bench '{nasty}'")[0]
    page = html([only(record, accuracy=record.accuracy)])
    assert nasty not in page
    assert "img" not in Page(page).tags
    assert nasty in "".join(Page(page).texts)


@pytest.mark.parametrize(
    "change",
    [
        lambda r: only(r),
        lambda r: only(r, **{name: {"unavailable": f"no {name} today"} for name in MEASURED}),
        lambda r: dataclasses.replace(only(r), conditions=None, runner=None, status="partial"),
    ],
    ids=["nothing asked for", "nothing measured", "no conditions"],
)
def test_records_with_holes(change: Callable[[Any], Any]) -> None:
    page = html([change(record) for record in records(2)])
    if "no latency today" in page:
        text = "".join(Page(page).texts)
        for name in MEASURED:
            assert f"o {name} today" in text
    assert {"verdict", "conditions"} <= set(Page(page).ids)


def test_shifts_that_could_not_be_judged() -> None:
    record = records(2)[1]
    assert record.parity is not None
    parts = [p | {"shift_px": {"unavailable": "no joint"}} for p in record.parity["by_protocol"]]
    parity = record.parity | {"by_protocol": parts, "worst": []}
    assert "Poses against the reference" in html([only(record, parity=parity)])


def test_pckh_stands_in_its_own_table() -> None:
    record = records(1)[0]
    entry = {
        "label": "PCKh@0.5 on mpii (9 persons, flip off)",
        "metrics": {"pckh@0.5": 81.25, "pckh@0.1": 22.5, "per_joint": {}},
        "protocol": {"metric": "PCKh", "set": "mpii", "persons": 9, "flip": False},
    }
    page = html([only(record, accuracy=[entry])])
    assert "Accuracy (PCKh)" in page
    assert "81.2" in page


def test_pictures_are_put_in(tmp_path: Path) -> None:
    picture = base64.b64decode("/9j/4AAQSkZJRg==")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "worst-1-0.jpg").write_bytes(picture)
    (tmp_path / "pictures" / "worst-1-1.jpg").write_bytes(picture)
    record = records(2)[1]
    assert record.parity is not None
    bare = [only(record, parity=record.parity | {"by_protocol": []})]
    page = html(bare, tmp_path)
    assert page.count('src="data:image/jpeg;base64,/9j/4AAQSkZJRg=="') == 2
    assert page.count("no picture") == 1
    assert "data:image" not in html(bare)


def test_pictures_grow_where_they_are(tmp_path: Path) -> None:
    """Without a script: a picture is the summary of details that take the whole row."""
    record = records(2)[1]
    assert record.parity is not None
    (tmp_path / record.parity["worst"][0]["picture"]).write_bytes(b"x")
    page = html([only(record, parity=record.parity)], tmp_path)
    assert page.count("<details><summary><img ") == 1
    assert "figure:has(details[open]){grid-column:1/-1}" in page


def test_keys_are_words() -> None:
    text = " ".join(Page(html([only(records(1)[0])])).texts)
    assert "memory, GiB" in text
    assert "memory gib" not in text


def test_no_other_file_is_put_in(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "outside.jpg").write_bytes(b"x")
    (folder / "secret.txt").write_bytes(b"x")
    (folder / "link.jpg").symlink_to(tmp_path / "outside.jpg")
    for name in ("../outside.jpg", "secret.txt", "link.jpg", str(tmp_path / "outside.jpg"), ""):
        assert data_uri(folder, name) is None


def test_many_layers_are_summed_up() -> None:
    record = records(1)[0]
    assert record.cost is not None
    layers = [record.cost["layers"][0] | {"macs": 1e6, "params": 1000}] * 450
    page = html([only(record, cost=record.cost | {"layers": layers, "achieved": []})])
    assert "50 more layers" in page
    assert len(re.findall(r"stages\.0\.blocks\.0\.conv", page)) == 400


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("jinja2", "matplotlib"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            with pytest.raises(MissingDependency, match=r"edgepose\[report\]"):
                html(records(1))
    with pytest.raises(InputError, match="nothing to report"):
        html([])
