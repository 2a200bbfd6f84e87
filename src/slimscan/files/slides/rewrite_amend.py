"""Tags of a finished TIFF file changed in place: a new directory behind its end, and one pointer that is turned to it.

For what is known only once the file was read back, a receipt for example. The old directory stays as some hundred dead bytes.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from slimscan.errors import OutputError
from slimscan.files.slides.rewrite_ifd import structure
from slimscan.files.slides.rewrite_lay import CLASSIC_END, Value, entry, lay, with_tags


def amend(path: Path, tags: Mapping[int, Value]) -> None:
    """Give the first page of the file those tags (None leaves one out); everything else stays where it is.

    OutputError when it cannot be written or a classic TIFF would end beyond 4 GiB; NotReadable for a damaged file.
    """
    found = structure(path)
    first = found.pages[0]
    changes = {
        tag: None if value is None else entry(tag, value, found.order, first.entry(tag)) for tag, value in tags.items()
    }
    start = found.size + -found.size % 8
    page = with_tags(first, changes)
    body, at = lay([replace(page, next=None, children={})], found.order, found.big, start)
    follows = 0 if first.next is None else found.pages[first.next].at
    spot = at - start + (8 + 20 * len(page.entries) if found.big else 2 + 12 * len(page.entries))
    wide = found.order + ("Q" if found.big else "I")
    body = body[:spot] + struct.pack(wide, follows) + body[spot + struct.calcsize(wide) :]
    if not found.big and start + len(body) > CLASSIC_END:
        raise OutputError(f"{path}: has no room for more tags below 4 GiB; write it as BigTIFF")
    try:
        with path.open("r+b") as file:
            file.seek(start)
            file.write(body)
            file.flush()
            os.fsync(file.fileno())  # the directory is there before anything points to it
            file.seek(8 if found.big else 4)
            file.write(struct.pack(wide, at))
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from error
