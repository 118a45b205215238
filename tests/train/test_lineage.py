from __future__ import annotations

from edgepose.train.lineage import lineage


def test_what_was_seen_twice_is_told_once() -> None:
    first = lineage("9 of dots")
    second = lineage("5 of stripes", first)
    assert second == "5 of stripes; begun with weights trained on 9 of dots"
    assert lineage("5 of stripes", second) == second
    assert lineage(second, "") == lineage("", second) == second
