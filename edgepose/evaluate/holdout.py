"""The hold-out rule: photos that no edgepose weights may see, and on which alone AP is quoted.

Weights that were trained on some photos of COCO val2017 say ``holdout_only`` in their spec. Their
accuracy on the whole of val2017 would be a lie; it is measured on the photos listed in
``holdout_ids.json``, which no training may touch.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

__all__ = ["HOLDOUT_NAME", "coco_named", "holdout_ids", "in_holdout", "photo_key"]

HOLDOUT_NAME = "the edgepose hold-out"


@cache
def holdout_ids() -> frozenset[str]:
    """Keys (see :func:`photo_key`) of the COCO val2017 photos of the hold-out."""
    ids = json.loads((Path(__file__).parent / "holdout_ids.json").read_text())
    return frozenset(str(i) for i in ids)


def photo_key(name: str) -> str:
    """What identifies a photo across naming habits: COCO's number, else the stem.

    >>> photo_key("COCO_val2014_000000000785.jpg"), photo_key("000000000785.jpg")
    ('785', '785')
    """
    stem = Path(name).stem
    number = re.fullmatch(r"(?:COCO_\w+_)?0*(\d+)", stem)
    return number.group(1) if number else stem


def coco_named(photo: str) -> bool:
    """Whether a photo is named as COCO names its own: 12 digits, in 2014 with a prefix.

    Such a name does not tell train2017 from val2017, nor one year's split from another's.

    >>> coco_named("000000000785.jpg"), coco_named("COCO_train2014_000000000036.jpg")
    (True, True)
    >>> coco_named("000785.jpg"), coco_named("im00785.jpg")
    (False, False)
    """
    return re.fullmatch(r"(?:COCO_\w+_)?\d{12}", Path(photo).stem) is not None


def in_holdout(photo: str) -> bool:
    """Whether the photo of that name belongs to the hold-out.

    Only COCO's own names tell: the number of another set's photo is that set's.

    >>> in_holdout("000000000785.jpg"), in_holdout("785.jpg"), in_holdout("000785.jpg")
    (True, False, False)
    """
    return coco_named(photo) and photo_key(photo) in holdout_ids()
