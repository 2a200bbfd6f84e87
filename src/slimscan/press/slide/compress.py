"""A slide there: plan each level, stream the tiles, read everything back, sign the receipt; nothing appears before that."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

import slimscan
from slimscan.each import Each, threads
from slimscan.errors import CheckFailed, InputError
from slimscan.files.guard import read_head
from slimscan.files.slides.open import open_slide
from slimscan.files.slides.rewrite import rewrite
from slimscan.files.slides.rewrite_blank import may_be_empty
from slimscan.files.slides.rewrite_skeleton import sha256, skeleton
from slimscan.nouns import Check, Needs
from slimscan.nouns.slide import Slide
from slimscan.press.slide import dicom
from slimscan.press.slide.board import Board, Payloads, boards, payloads
from slimscan.press.slide.families import family
from slimscan.press.slide.ledger import Ledger, packed, read_ledger
from slimscan.press.slide.plan import Grid, NoWay, Plan, choose_exact, choose_small, tags, with_blank
from slimscan.press.slide.proof import Sums, others_equal, prove, reader_sees
from slimscan.press.slide.quality import Floors
from slimscan.press.slide.transcode import Way
from slimscan.press.staging import admit_output, staged
from slimscan.regions.tissue import Tissue

Profile = Literal["exact", "compatible", "small", "paper"]
Left = Literal["keep", "paint", "shared", "empty"]
GLASS: Mapping[Profile, Left] = {"exact": "keep", "compatible": "shared", "small": "shared", "paper": "keep"}
Find = Callable[[Slide], tuple[Tissue, Mapping[int, Grid]]]


@dataclass(frozen=True)
class SlideReceipt:
    """Everything measured about one slide. The fields are the keys of `slide compress --json`.

    tiles: how -> number: "as is", "transcoded" (comes back as the same bytes), "recoded" (lossy), "shared", "empty" or
    "painted" (glass), "absent" (in the source already). tile_bytes: of the levels' tiles in source and output.
    psnr_db, ssim: over the tiles of tissue of all levels, read back from the output; psnr_db None when nothing differs.
    worst_window: the smallest SSIM of a square of 16 pixels, with its level and tile. levels: the same for each level, and
    what was done there. ledger_bytes: of output_bytes, what is kept about the source. copied: the output is the source.
    """

    source: str
    output: str
    profile: str
    glass: str
    source_bytes: int
    output_bytes: int
    saved_percent: float
    tile_bytes: tuple[int, int]
    tiles: Mapping[str, int]
    psnr_db: float | None
    ssim: float | None
    worst_window: Mapping[str, Any] | None
    levels: tuple[Mapping[str, Any], ...]
    ledger_bytes: int
    copied: bool
    lossy_before: bool
    sha256: str
    floors: Mapping[str, float] | None
    checks: tuple[Check, ...]
    notes: tuple[str, ...]
    versions: Mapping[str, str]
    seconds: float = 0.0


@dataclass(frozen=True)
class Wish:
    """What was asked, in one value."""

    profile: Profile
    left: Left
    floors: Floors
    paper_codec: str


def compress_slide(
    source: str | Path,
    output: str | Path,
    *,
    profile: Profile = "exact",
    left: Left | None = None,
    tissue: Find | Mapping[int, Grid] | None = None,
    floors: Floors | None = None,
    paper_codec: str = "jpegxl",
    allow_lossy_again: bool = False,
    force: bool = False,
    each: Each | None = None,
) -> SlideReceipt:
    """Compress a slide by a profile, read every tile back, and return what was measured.

    profile: exact (every tile comes back as its bytes, and the file too), compatible (tiles untouched, glass left out), small
    (for each level the family of tiles of the fewest bytes, each at the coarsest setting that passes floors), paper (one
    codec at the paper's setting). left: what stands for tiles of glass, by default GLASS. tissue: level -> (rows, columns),
    True where a tile shows nothing but glass; or a function of the open slide that gives the tissue too, for `paint`.
    small and paper change pixels: a source that lost something before needs allow_lossy_again.

    Raises InputError, NotReadable or OutputError before anything stands at `output`, CheckFailed when what was read back is
    not what was promised; nothing is left at `output` then either.
    """
    started = time.perf_counter()
    source, output = Path(source), Path(output)
    wish = _admitted(profile, left, floors, paper_codec)
    admit_output(output, force, source)
    opener = dicom.alone if is_dicom(source) else open_slide
    with opener(source) as slide:
        work = container(slide, source)
        with staged(output, force) as stage:
            receipt = _settled(slide, source, work, wish, tissue, stage.path, each or threads(), allow_lossy_again)
    return replace(receipt, output=str(output), seconds=time.perf_counter() - started)


@dataclass(frozen=True)
class Container:
    """How a kind of file is taken apart and written: its boards, its payloads, a writer, what is kept to restore it."""

    kind: Literal["tiff", "dicom"]
    boards: tuple[Board, ...]
    payloads: Callable[[Path, bool], AbstractContextManager[Payloads]]
    write: Callable[[Path, Path, Sequence[Plan], Each], None]
    skeleton: Callable[[Path], bytes]
    attach: Callable[[Path, bytes], None]
    open: Callable[[Path], AbstractContextManager[Slide]]


def is_dicom(path: Path) -> bool:
    """Whether it is a DICOM file, or a folder, which only DICOM slides are."""
    if path.is_dir():
        return True
    return read_head(path)[128:132] == b"DICM"


def container(slide: Slide, source: Path) -> Container:
    """The TIFF or DICOM way of a slide; InputError for one without tiles."""
    if slide.format == "dicom":
        here = (dicom.board(source),)
        return Container("dicom", here, dicom.frames, dicom.write, dicom.skeleton, dicom.attach, dicom.alone)
    aperio = slide.format == "svs"

    def write(source: Path, out: Path, plans: Sequence[Plan], each: Each) -> None:
        by_number = {plan.board.number: plan for plan in plans}
        rewrite(
            source,
            out,
            lambda number, tile, stored: by_number[number].answer(tile, stored),
            pages=by_number.keys(),
            tags={number: tags(plan, aperio) for number, plan in by_number.items()},
            each=each,
        )

    return Container("tiff", boards(slide), payloads, write, skeleton, _appended, open_slide)


def _appended(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def _admitted(profile: str, left: str | None, floors: Floors | None, paper_codec: str) -> Wish:
    if profile not in get_args(Profile):
        raise InputError(f'--profile "{profile}" is not known; allowed: {", ".join(get_args(Profile))}')
    if left is not None and left not in get_args(Left):
        raise InputError(f'--glass "{left}" is not known; allowed: {", ".join(get_args(Left))}')
    family(paper_codec)
    if profile == "exact" and left not in (None, "keep"):
        raise InputError(
            f"--glass {left}: exact keeps every tile; take --profile compatible or small to leave glass out"
        )
    if left == "paint" and profile != "paper":
        raise InputError(
            "--glass paint reproduces the paper and takes more bytes than shared; say --profile paper with it"
        )
    if floors is not None and profile != "small":
        raise InputError(f"--floor-...: only small checks tiles against floors; --profile {profile} takes none")
    known = cast(Profile, profile)
    return Wish(known, cast(Left, left) if left else GLASS[known], floors or Floors(), paper_codec)


def _settled(
    slide: Slide,
    source: Path,
    work: Container,
    wish: Wish,
    tissue: Find | Mapping[int, Grid] | None,
    hidden: Path,
    each: Each,
    again: bool,
) -> SlideReceipt:
    """Write until no level is larger than it was and every plan holds: each round that fails gives up a level at least."""
    lossy = any(board.level.lossy is not False for board in work.boards)
    if lossy and wish.profile in ("small", "paper") and not again:
        raise InputError(
            f"{source}: its tiles were compressed with loss before; --profile {wish.profile} would lose once more, which "
            "--allow-lossy-again permits; exact and compatible lose nothing"
        )
    seen: Tissue | None = None
    grids: Mapping[int, Grid] = {}
    if wish.left != "keep" and tissue is not None:
        seen, grids = tissue(slide) if callable(tissue) else (None, dict(tissue))
    bare = may_be_empty(slide.levels, grids) if wish.left == "empty" and slide.format == "svs" else {}
    painted = seen if wish.left == "paint" else None
    start = {
        b.number: Plan(b, glass=grids.get(b.index), left=wish.left, tissue=painted, bare=bare.get(b.index))
        for b in work.boards
    }
    with work.payloads(source, False) as stored:
        plans = {number: with_blank(_plan(plan, wish, stored), stored.read) for number, plan in start.items()}
        for _ in range(len(plans) + 1):
            try:
                work.write(source, hidden, tuple(plans.values()), each)
            except NoWay as error:
                plans[error.number] = with_blank(start[error.number], stored.read)
                continue
            with work.payloads(hidden, False) as written:
                found = prove(tuple(plans.values()), stored, written, each)
            grown = [n for n, s in found.items() if s.bytes_out > s.bytes_in and plans[n].family is not None]
            if wish.profile == "paper" or not grown:
                break
            plans |= {number: with_blank(start[number], stored.read) for number in grown}
        else:
            raise CheckFailed(f"{source}: no plan of its levels held; take --profile compatible, which changes no tile")
    about = _about_glass(wish, seen, grids)
    return _signed(source, work, wish, tuple(plans.values()), found, hidden, lossy, about)


def _about_glass(wish: Wish, seen: Tissue | None, grids: Mapping[int, Grid]) -> tuple[str, ...]:
    """Why glass that was to go could not; nothing when it could."""
    if wish.left == "keep":
        return ()
    if not grids:
        return ("nothing was said about where glass is, so that all tiles were kept",)
    if seen is not None and not seen.pixels.any():
        return ("no tissue was found, so that all tiles were kept: a mask without any is more often wrong than right",)
    return ()


def _plan(start: Plan, wish: Wish, stored: Payloads) -> Plan:
    if wish.profile == "exact":
        return choose_exact(start, stored.read)
    if wish.profile == "small":
        return choose_small(start, wish.floors, stored.read)
    if wish.profile == "paper":
        if start.board.level.colour == "grey":
            raise InputError(
                "--profile paper codes colour tiles; this slide has a grey level, take exact or compatible"
            )
        chosen = family(wish.paper_codec)
        return replace(start, family=chosen, value=chosen.paper)
    return start


def _signed(
    source: Path,
    work: Container,
    wish: Wish,
    plans: tuple[Plan, ...],
    found: dict[int, Sums],
    hidden: Path,
    lossy: bool,
    about_glass: tuple[str, ...],
) -> SlideReceipt:
    """The receipt and the ledger behind the file; the source itself when nothing was gained. CheckFailed as promised."""
    digest = sha256(source)
    checks = _checks(work, wish, plans, found, source, hidden)
    exact = wish.profile == "exact"
    receipt = _receipt(source, wish, plans, found, lossy, digest, checks)
    about = {
        "version": 1,
        "profile": wish.profile,
        "container": work.kind,
        "name": source.name,
        "bytes": source.stat().st_size,
        "sha256": digest,
        "ways": {str(plan.board.number): _way(plan) for plan in plans if exact and plan.exact},
        "receipt": _travelling(receipt),
    }
    digests = {number: bytes(sums.digests) for number, sums in found.items()} if exact else {}
    data = packed(Ledger(about, digests, work.skeleton(source) if exact else b""))
    nothing_won = hidden.stat().st_size + len(data) >= source.stat().st_size
    if nothing_won and wish.profile != "paper":
        shutil.copyfile(source, hidden)
        note = f"no {wish.profile} form is smaller than this slide; the output is a copy of it, byte for byte"
        size = source.stat().st_size
        same = Check("copy", digest, sha256(hidden), sha256(hidden) == digest)
        receipt = replace(
            _receipt(source, wish, tuple(Plan(p.board) for p in plans), _as_is(plans, found), lossy, digest, [same]),
            output_bytes=size, saved_percent=0.0, copied=True, notes=(note, *about_glass),
        )  # fmt: skip
    else:
        work.attach(hidden, data)
        if exact:
            from slimscan.press.slide.restore import restored_digest

            got = restored_digest(hidden)
            checks.append(Check("restored file", f"SHA-256 {digest}", f"SHA-256 {got}", got == digest))
        elif read_ledger(hidden) is None:
            checks.append(Check("ledger", "readable", "not found", False))
        size, whole = hidden.stat().st_size, source.stat().st_size
        if wish.profile != "paper":
            checks.append(Check("size", f"at most {whole} bytes", f"{size} bytes", size <= whole))
        receipt = replace(
            receipt,
            output_bytes=size,
            saved_percent=100 * (1 - size / whole),
            ledger_bytes=len(data),
            checks=tuple(checks),
            notes=(*_notes(wish, plans, receipt, size > whole), *about_glass),
        )
    failed = [check for check in receipt.checks if not check.passed]
    if failed:
        raise CheckFailed("; ".join(f"{source}: {c.name}: asked {c.asked}, got {c.got}" for c in failed))
    return receipt


def _checks(
    work: Container, wish: Wish, plans: Sequence[Plan], found: Mapping[int, Sums], source: Path, hidden: Path
) -> list[Check]:
    tiles = sum(sum(sums.tiles.values()) for sums in found.values())
    wrong = [(plan.board.index, *one) for plan in plans for one in found[plan.board.number].wrong]
    told = {
        "exact": "each comes back as the same bytes",
        "compatible": "the source's bytes, or blank glass",
        "small": "the source's bytes, or passing the floors",
        "paper": "decodes",
    }[wish.profile]
    first = f"; level {wrong[0][0]}, tile {wrong[0][1]}: {wrong[0][2]}" if wrong else ""
    checks = [Check("tiles", f"{told}, {tiles} of {tiles}", f"{tiles - len(wrong)} of {tiles}{first}", not wrong)]
    with work.payloads(source, True) as before, work.payloads(hidden, True) as after:
        changed = others_equal(before, after, found)
        checks.append(
            Check("other pictures", "the same bytes", f"page {changed[0]} differs" if changed else "same", not changed)
        )
        seen = list(reader_sees(work.open(hidden), plans, before, after))
    checks.append(Check("opens", "levels and pixels as written", seen[0] if seen else "as written", not seen))
    return checks


def _way(plan: Plan) -> dict[str, Any]:
    assert plan.way is not None
    return asdict(plan.way) | {"prefix": plan.way.prefix.hex()}


def way_from(said: Mapping[str, Any]) -> Way:
    """The way that a ledger tells."""
    return Way(said["kind"], bytes.fromhex(said["prefix"]), tuple(said["shape"]), said["level"], said["predictor"])


def _as_is(plans: Sequence[Plan], found: Mapping[int, Sums]) -> dict[int, Sums]:
    kept = {}
    for plan in plans:
        old = found[plan.board.number]
        total, absent = sum(old.tiles.values()), old.tiles["absent"]
        new = Sums(bytes_in=old.bytes_in, bytes_out=old.bytes_in)
        new.tiles |= {"as is": total - absent, "absent": absent}
        new.ssim = [1.0] * (total - absent)
        kept[plan.board.number] = new
    return kept


def _receipt(
    source: Path,
    wish: Wish,
    plans: Sequence[Plan],
    found: Mapping[int, Sums],
    lossy: bool,
    digest: str,
    checks: Sequence[Check],
) -> SlideReceipt:
    rows = tuple(_row(plan, found[plan.board.number]) for plan in plans)
    together = Sums()
    for sums in found.values():
        together.mse += sums.mse
        together.pixels += sums.pixels
        together.ssim += sums.ssim
        for how, count in sums.tiles.items():
            together.tiles[how] += count
    worst = min(plans, key=lambda plan: found[plan.board.number].worst[0])
    low, tile = found[worst.board.number].worst
    row, col = worst.board.place(tile) if tile >= 0 else (-1, -1)
    return SlideReceipt(
        source=str(source),
        output="",
        profile=f"{wish.profile} {wish.paper_codec}" if wish.profile == "paper" else wish.profile,
        glass=wish.left,
        source_bytes=source.stat().st_size,
        output_bytes=0,
        saved_percent=0.0,
        tile_bytes=(sum(s.bytes_in for s in found.values()), sum(s.bytes_out for s in found.values())),
        tiles=together.tiles,
        psnr_db=together.psnr_db,
        ssim=together.mean_ssim,
        worst_window=None
        if not math.isfinite(low) or low == 1.0
        else {"ssim": low, "level": worst.board.index, "row": row, "column": col},
        levels=rows,
        ledger_bytes=0,
        copied=False,
        lossy_before=lossy,
        sha256=digest,
        floors=asdict(wish.floors) if wish.profile == "small" else None,
        checks=tuple(checks),
        notes=(),
        versions={"slimscan": slimscan.__version__}
        | {need.package: need.version() for need in (Needs("imagecodecs", "imagecodecs"), Needs("numpy", "numpy"))},
    )


def _row(plan: Plan, sums: Sums) -> dict[str, Any]:
    level = plan.board.level
    return {
        "level": plan.board.index,
        "shape": level.shape,
        "was": level.compression,
        "codec": plan.family.name if plan.family else level.compression,
        "tiles": {how: count for how, count in sums.tiles.items() if count},
        "bytes": (sums.bytes_in, sums.bytes_out),
        "larger_tiles": sums.larger,
        "larger_bytes": sums.larger_bytes,
        "psnr_db": sums.psnr_db,
        "ssim": sums.mean_ssim,
        "worst_window": sums.worst[0] if math.isfinite(sums.worst[0]) else None,
    }


def _travelling(receipt: SlideReceipt) -> dict[str, Any]:
    """What lies in the file: nothing that changes from one run to the next, and no size of the file that holds it."""
    left_out = ("source", "output", "output_bytes", "saved_percent", "ledger_bytes", "seconds", "notes")
    return {key: value for key, value in asdict(receipt).items() if key not in left_out}


def _notes(wish: Wish, plans: Sequence[Plan], receipt: SlideReceipt, grown: bool) -> tuple[str, ...]:
    notes = []
    if receipt.lossy_before and receipt.tiles["recoded"]:
        notes.append("lossy on lossy: the source's tiles had lost something already, and were coded with loss again")
    used = {plan.family.name for plan in plans if plan.family is not None}
    if "jpegxl" in used:
        notes.append(
            "tiles are JPEG XL: tifffile and slimscan read them, OpenSlide 4.0 does not"
            + ("; `slimscan slide restore` gives the source back" if wish.profile == "exact" else "")
        )
    if receipt.tiles["empty"]:
        notes.append(
            "glass is stored as tiles of no bytes: OpenSlide shows it transparent, other readers black or not at all"
        )
    if grown:
        notes.append("the paper's fixed settings take more bytes than this source; small is never larger")
    return tuple(notes)
