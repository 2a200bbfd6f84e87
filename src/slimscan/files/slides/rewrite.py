"""A slide with other payloads: every directory, tag and picture of a TIFF file is kept, its tiles are asked for one by one.

Tiles stream from the source to the output: a few a worker are in memory at once, and 16 bytes a tile for where they lie.
The form (classic or BigTIFF) is chosen at the end, when the size is known.
"""

from __future__ import annotations

import os
from array import array
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from slimscan.errors import InputError, NotReadable, OutputError
from slimscan.files.slides.rewrite_ifd import LONG, LONG8, Entry, Structure, structure
from slimscan.files.slides.rewrite_journal import Done, Journal
from slimscan.files.slides.rewrite_lay import CLASSIC_END, HEADER, Value, entry, header, lay, numbers, with_tags


class Kind(Enum):
    """What may stand in a tile's place instead of bytes: AS_IS, the stored bytes; EMPTY, no bytes at all."""

    AS_IS = "as is"
    EMPTY = "empty"


AS_IS, EMPTY = Kind.AS_IS, Kind.EMPTY


@dataclass(frozen=True)
class Shared:
    """A payload that is written once a page, however many tiles ask for it: they all point to the same bytes."""

    payload: bytes


Answer = bytes | Kind | Shared
Replace = Callable[[int, int, bytes], Answer]


@dataclass(frozen=True)
class Rewritten:
    """What was done. tiles = kept + replaced + shared + empty, of all pages; bytes_*: of the files."""

    pages: int
    tiles: int
    kept: int
    replaced: int
    shared: int
    empty: int
    bytes_in: int
    bytes_out: int
    bigtiff: bool
    resumed: int = 0


_KEPT, _REPLACED, _SHARED, _EMPTY = range(4)
_Item = tuple[int, int, bytes]


def rewrite(
    source: Path,
    out: Path,
    replace: Replace,
    *,
    pages: Collection[int] | None = None,
    tags: Mapping[int, Mapping[int, Value]] | None = None,
    each: Callable[..., Iterable[Any]] = map,
    resume: bool = False,
    work: str = "",
    bigtiff: bool | None = None,
) -> Rewritten:
    """Write `out`: the TIFF file `source` with the payloads that replace(page, index, stored bytes) gives.

    pages: those whose payloads are asked for (numbered as in rewrite_ifd.Page and nouns.Level.page), all tiled ones when
    None; the others are copied. Tiles that are empty in the source stay so and are not asked for; tiles that share their
    bytes there share them here when they get the same. tags: page -> tag -> value, None to leave the tag out. each: a
    map in order, of slimscan.each; with processes, `replace` must pickle. bigtiff: None is the form of the source, or
    BigTIFF when a classic file ends beyond 4 GiB.
    resume: go on with what an earlier call of the same `work` (any text that tells one from the other) left behind when
    it was killed, and leave it behind when it is interrupted. Without it, nothing stays but a whole output.
    NotReadable for a damaged source, OutputError for what cannot be written, InputError for unfitting tags or pages.
    """
    found = structure(source)
    asked = {page.number for page in found.pages if found.tiled(page.number)} if pages is None else set(pages)
    changes = _changes(found, asked, tags or {}, source)
    before = source.stat()
    part, log = (out.parent / f".{out.name}.slimscan-{end}" for end in ("part", "journal"))
    identity = {"source": found.size, "changed": before.st_mtime_ns, "pages": sorted(asked), "work": work}
    journal: Journal | None = None
    whole = False
    try:
        journal = Journal(part, log, identity, HEADER, resume)
        table = _Table(found)
        resumed = _write(source, found, asked, replace, each, journal, table)
        after = source.stat()
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise NotReadable(f"{source}: changed while it was read; begin again once it is complete")
        big = _finish(found, changes, journal, table, bigtiff, out)
        journal.close()
        size = part.stat().st_size
        part.replace(out)
        log.unlink()
        whole = True
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror or error}); choose another place") from error
    finally:
        if journal is not None:
            with suppress(OSError):
                journal.flush() if not whole and not journal.part.closed else None
            with suppress(OSError):
                journal.close()
        if not whole and not resume:
            for left in (part, log):
                with suppress(OSError):
                    left.unlink(missing_ok=True)
    kept, replaced, shared, empty = table.by
    tiles = sum(table.by)
    return Rewritten(len(found.pages), tiles, kept, replaced, shared, empty, found.size, size, big, resumed)


class _Table:
    """Where every payload lies in the output, and which of them may be pointed to again."""

    def __init__(self, found: Structure) -> None:
        self.at: list[Any] = []
        self.count: list[Any] = []
        self.twice: list[set[int]] = []  # places in the source that more than one tile points to
        for page in found.pages:
            offsets, counts = found.payloads(page.number)
            self.at.append(array("Q", bytes(8 * len(offsets))))
            self.count.append(array("Q", bytes(8 * len(offsets))))
            places, times = np.unique(offsets[counts > 0], return_counts=True)
            self.twice.append(set(places[times > 1].tolist()))
        self.shared: dict[tuple[int, bytes], Done] = {}
        self.by = [0, 0, 0, 0]

    def put(self, page: int, index: int, done: Done) -> None:
        self.at[page][index], self.count[page][index] = done.at, done.length
        self.by[done.how] += 1


def _write(
    source: Path,
    found: Structure,
    asked: set[int],
    replace: Replace,
    each: Callable[..., Iterable[Any]],
    journal: Journal,
    table: _Table,
) -> int:
    """Every payload into the journal's file; how many were there already."""
    payloads = [found.payloads(page.number) for page in found.pages]
    order = [(page.number, page.number in asked) for page in sorted(found.pages, key=lambda p: p.number in asked)]
    skip = resumed = len(journal.done)
    done = iter(journal.done)
    seen: set[tuple[int, int]] = set()
    with source.open("rb") as file:

        def todo(wanted: bool) -> Iterator[_Item]:
            """The payloads not yet done, as stored, in the order of the work."""
            nonlocal skip
            for page, is_asked in order:
                if is_asked is not wanted:
                    continue
                offsets, counts = payloads[page]
                for index in range(len(offsets)):
                    if skip:
                        skip -= 1
                        one = next(done)
                        table.put(page, index, one)
                        if (one.how == _SHARED or offsets[index] in table.twice[page]) and (page, one.at) not in seen:
                            seen.add((page, one.at))
                            table.shared.setdefault((page, _digest(_reread(journal, one))), one)
                        continue
                    yield page, index, _stored(file, source, int(offsets[index]), int(counts[index]))

        for page, index, stored in todo(False):
            _put(journal, table, page, index, AS_IS, stored, int(payloads[page][0][index]))
        waiting: deque[_Item] = deque()

        def handed() -> Iterator[_Item]:
            for item in todo(True):
                waiting.append(item)
                yield item

        for answer in each(partial(_ask, replace), handed()):
            page, index, stored = waiting.popleft()
            _put(journal, table, page, index, answer, stored, int(payloads[page][0][index]))
    return resumed


def _ask(replace: Replace, item: _Item) -> Answer:
    return replace(*item) if item[2] else EMPTY


def _stored(file: BinaryIO, source: Path, at: int, count: int) -> bytes:
    try:
        file.seek(at)
        found = file.read(count)
    except OSError as error:
        raise NotReadable(f"{source}: cannot be read at byte {at} ({error.strerror or error})") from error
    if len(found) != count:
        raise NotReadable(
            f"{source}: ended at byte {at + len(found)} while it was read; begin again once it is complete"
        )
    return found


def _reread(journal: Journal, one: Done) -> bytes:
    journal.part.seek(one.at)
    held = journal.part.read(one.length)
    journal.part.seek(journal.at)
    return held


def _digest(payload: bytes) -> bytes:
    return blake2b(payload, digest_size=20).digest()


def _put(journal: Journal, table: _Table, page: int, index: int, answer: Answer, stored: bytes, place: int) -> None:
    how = _KEPT if answer is AS_IS else _SHARED if isinstance(answer, Shared) else _REPLACED
    payload = answer.payload if isinstance(answer, Shared) else stored if answer is AS_IS else answer
    if payload is EMPTY or not payload:
        done = Done(0, 0, 0, _EMPTY)
        journal.note(done)
    elif not isinstance(payload, bytes):
        raise InputError(
            f"tile {index} of page {page}: bytes, AS_IS, EMPTY or Shared is asked for; {type(payload).__name__} came"
        )
    else:
        again = how == _SHARED or place in table.twice[page]
        known = table.shared.get((page, _digest(payload))) if again else None
        if known is not None:
            done = known._replace(how=how)
            journal.note(done)
        else:
            done = journal.add(payload, how)
            if again:
                table.shared[page, _digest(payload)] = done
    table.put(page, index, done)


def _changes(
    found: Structure, asked: set[int], tags: Mapping[int, Mapping[int, Value]], source: Path
) -> dict[int, dict[int, Entry | None]]:
    """The new tags of each page, made before a byte is written. InputError for a page that is not there."""
    count = len(found.pages)
    for page in sorted({*asked, *tags}):
        if not 0 <= page < count:
            raise InputError(f"{source}: page {page} was asked for; it has pages 0 to {count - 1}")
        reserved = {273, 279, 324, 325, 330} & set(tags.get(page, {}))
        if reserved:
            raise InputError(f"page {page}: tag {min(reserved)} is written by the rewriter itself; leave it out")
    return {
        page: {
            tag: None if value is None else entry(tag, value, found.order, found.pages[page].entry(tag))
            for tag, value in wanted.items()
        }
        for page, wanted in tags.items()
    }


def _finish(
    found: Structure,
    changes: Mapping[int, dict[int, Entry | None]],
    journal: Journal,
    table: _Table,
    bigtiff: bool | None,
    out: Path,
) -> bool:
    """The directories after the payloads, then the header; True when it became BigTIFF."""
    big = found.big if bigtiff is None else bigtiff
    while True:
        pages = []
        for page in found.pages:
            new = dict(changes.get(page.number, {}))
            held = found.payload_tags(page.number)
            for tag, values in zip(held or (), (table.at[page.number], table.count[page.number]), strict=False):
                old = page.entry(tag)
                kind = LONG if old is None or (old.kind == LONG8 and not big) else old.kind
                new[tag] = numbers(tag, np.frombuffer(values, np.uint64), found.order, kind)
            pages.append(with_tags(page, new))
        if big or journal.at < CLASSIC_END:
            body, first = lay(pages, found.order, big, journal.at)
            if big or journal.at + len(body) <= CLASSIC_END:
                break
        if bigtiff is False:
            raise OutputError(f"{out}: would be larger than 4 GiB, which needs BigTIFF; do not ask for a classic TIFF")
        big = True
    journal.flush()
    journal.part.write(body)
    journal.part.seek(0)
    journal.part.write(header(found.order, big, first))
    journal.part.flush()
    os.fsync(journal.part.fileno())
    return big
