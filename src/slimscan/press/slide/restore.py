"""The way back: the very same file that was compressed with --profile exact."""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from slimscan.errors import ChecksumError, CodecError, InputError
from slimscan.files.slides.rewrite_skeleton import from_skeleton
from slimscan.press.slide.board import payloads
from slimscan.press.slide.ledger import Ledger, read_ledger
from slimscan.press.slide.proof import BYTES
from slimscan.press.slide.transcode import grow
from slimscan.press.staging import HOST, MARK, admit_output, staged


@dataclass(frozen=True)
class Restored:
    """name: of the file that was compressed. tiles: restored, each with the SHA-256 that it had. sha256: of the whole file."""

    source: str
    output: str
    name: str
    tiles: int
    bytes: int
    sha256: str


def restore_slide(source: str | Path, output: str | Path, *, force: bool = False) -> Restored:
    """Write the file that `source` was made of with --profile exact.

    InputError when it was not; ChecksumError, and nothing at `output`, when a tile or the whole is not what it was.
    """
    source, output = Path(source), Path(output)
    admit_output(output, force, source)
    ledger = ledger_of(source)
    with staged(output, force) as stage:
        tiles, digest = _written(source, ledger, stage.path)
        size = stage.path.stat().st_size
    return Restored(str(source), str(output), str(ledger.about["name"]), tiles, size, digest)


def ledger_of(source: Path) -> Ledger:
    """The ledger of an exact output; InputError for anything else."""
    ledger = read_ledger(source)
    if ledger is None:
        raise InputError(
            f"{source}: keeps nothing to restore from; give what `slimscan slide compress --profile exact` wrote (a slide that "
            "it could not make smaller was copied, and is its own original)"
        )
    if ledger.about["profile"] != "exact":
        raise InputError(
            f"{source}: was written with --profile {ledger.about['profile']}, which keeps less than its source; only exact "
            "can be restored"
        )
    return ledger


def restored_digest(source: Path) -> str:
    """The SHA-256 of what `source` restores to, through a temporary file beside it, which the next output there sweeps away
    if this process is killed.
    """
    handle, name = tempfile.mkstemp(prefix=f"{MARK}{HOST}-{os.getpid()}-{secrets.token_hex(4)}-", dir=source.parent)
    os.close(handle)
    try:
        return _written(source, ledger_of(source), Path(name))[1]
    finally:
        with suppress(OSError):
            Path(name).unlink(missing_ok=True)


def _written(source: Path, ledger: Ledger, out: Path) -> tuple[int, str]:
    """(tiles that were checked one by one, SHA-256 of the whole file)."""
    from slimscan.press.slide.compress import way_from

    ways = {int(number): way_from(said) for number, said in ledger.about["ways"].items()}
    count = 0
    if ledger.about["container"] == "dicom":
        from slimscan.press.slide.dicom import frames, from_frames

        open_payloads, build = frames, from_frames
    else:
        open_payloads, build = payloads, from_skeleton
    with open_payloads(source, True) as stored:

        def payload(number: int, tile: int) -> bytes:
            nonlocal count
            found = stored.read(number, tile)
            if number in ways:
                try:
                    found = grow(found, ways[number])
                except CodecError as error:
                    raise ChecksumError(
                        f"{source}: tile {tile} of page {number} is damaged ({error}); copy the compressed slide anew"
                    ) from error
            if number in ledger.digests:
                wanted = ledger.digests[number][BYTES * tile : BYTES * (tile + 1)]
                if hashlib.sha256(found).digest() != wanted:
                    raise ChecksumError(
                        f"{source}: tile {tile} of page {number} does not come back as it was; copy the compressed slide anew"
                    )
                count += 1
            return found

        digest = build(ledger.skeleton, out, payload)
    return count, digest
