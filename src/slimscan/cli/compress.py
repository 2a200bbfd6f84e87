"""slimscan compress."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from slimscan.nouns import Policy, Receipt, Target

HELP = """Compress images to an exact target, read them back, and say what was measured.

Say ONE target: --ratio (raw bytes / bytes on disk), --psnr (dB), --max-error (stored units, or the image's own: 5HU),
--lossless, --setting CODEC@VALUE, --policy NAME (a radiological guideline), or --certificate FILE (of a study). OUT decides the format: .ozx (any codec, with the receipt inside) .zarr, .tif
(JPEG 2000, JPEG XL), .dcm or a folder ending in / (DICOM), and .nii .nii.gz .mha .nrrd (decoded pixels, for programs that
know none of this; the target then speaks of the codec's bytes).

[bold]Examples[/bold]

  slimscan compress ct.nii.gz -o ct.ozx --ratio 20

  slimscan compress dicom_folder/ -o ct.ozx --codec auto --psnr 55

  slimscan compress stack_of_tiffs/ -o stack.ozx --codec jpegls --max-error 2

  slimscan compress dicom_folder/ -o ct_small/ --policy drg2008

  slimscan compress *.nii.gz -o small/ --lossless --codec jpegxl

  slimscan compress ct.nii.gz -o ct.ozx --roi labels.nii.gz#liver --outside ratio:40
"""

SUFFIXES = (".nii.gz", ".ome.tif", ".ome.tiff", ".ome.zarr")


def command(
    sources: Annotated[
        list[str], typer.Argument(metavar="SRC...", help="Images: files, or folders that hold one series.")
    ],
    output: Annotated[str, typer.Option("--output", "-o", metavar="OUT", help="File, or a folder for several images.")],
    codec: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="`slimscan codecs` lists them; auto tries all. Default: jpeg2000."),
    ] = None,
    ratio: Annotated[float | None, typer.Option(metavar="R", help="Raw bytes / bytes on disk, met within 2 %.")] = None,
    psnr: Annotated[
        float | None, typer.Option(metavar="DB", help="dB over the whole volume, at least this, at most 0.1 more.")
    ] = None,
    peak: Annotated[
        str, typer.Option(metavar="PEAK", help="Peak of the PSNR: stored (2^bits - 1), range, dtype, or a number.")
    ] = "stored",
    max_error: Annotated[
        str | None,
        typer.Option(
            "--max-error", metavar="N[UNIT]", help="No voxel is off by more: stored units, or 5HU, '0.01 1/cm'."
        ),
    ] = None,
    lossless: Annotated[bool, typer.Option("--lossless", help="Every voxel comes back as it was.")] = False,
    setting: Annotated[
        str | None,
        typer.Option(metavar="CODEC@VALUE", help="A codec and its knob, for example jpeg2000@38.2: no search."),
    ] = None,
    certificate: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="As far as a study's certificate allows, or milder: see `slimscan study`."),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The largest ratio that a guideline allows: see `slimscan policies`."),
    ] = None,
    modality: Annotated[
        str | None, typer.Option(metavar="CT|MR|...", help="With --policy, for images whose header says none.")
    ] = None,
    body_part: Annotated[
        str | None,
        typer.Option("--body-part", metavar="WORD", help="With --policy: HEAD, CHEST, ...; else the header's."),
    ] = None,
    per: Annotated[
        str,
        typer.Option(
            metavar="volume|slice", help="volume: one quality everywhere. slice: each slice meets the target."
        ),
    ] = "volume",
    each: Annotated[str, typer.Option(metavar="HOW", help="Run on: serial, threads, processes, dask.")] = "threads",
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="How many at once. Default: the cores of this machine.")
    ] = None,
    scheduler: Annotated[str | None, typer.Option(metavar="URL", help="Of --each dask, tcp://host:port.")] = None,
    form: Annotated[
        str | None,
        typer.Option("--format", metavar="FORMAT", help="For a folder OUT: ozx, nii.gz, tif, mha, nrrd or dicom."),
    ] = None,
    no_verify: Annotated[bool, typer.Option("--no-verify", help="Do not read back what was written.")] = False,
    frames: Annotated[
        bool, typer.Option("--frames", help="DICOM that makes no volume: every file and frame for itself, into OUT/.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace what stands at OUT.")] = False,
    allow_lossy_again: Annotated[
        bool, typer.Option("--allow-lossy-again", help="Also images that were compressed with loss before.")
    ] = False,
    roi: Annotated[
        str | None,
        typer.Option(
            metavar="REGION",
            help="Keep a region: a mask, labels.nii.gz#liver, a SEG or RTSTRUCT, image:body, a model. With --outside, or"
            " --ratio for the whole file.",
        ),
    ] = None,
    roi_grow: Annotated[
        str, typer.Option("--roi-grow", metavar="30x30x1|10mm", help="Let the region grow: voxels (x, y, z), or mm.")
    ] = "",
    roi_threshold: Annotated[
        float | None, typer.Option("--roi-threshold", metavar="P", help="Of a probability map. Default: 0.75.")
    ] = None,
    inside: Annotated[
        str | None,
        typer.Option(metavar="WHAT", help="Of the region: lossless (default), max-error:N[UNIT] or psnr:DB."),
    ] = None,
    outside: Annotated[
        str | None,
        typer.Option(
            metavar="WHAT",
            help="ratio:R, max-error:N, psnr:DB, setting:CODEC@VALUE, calm, constant[:V], coarse:N; calm+ratio:R.",
        ),
    ] = None,
    residual: Annotated[
        bool, typer.Option("--residual", help="Beside it what restores the original bit for bit; .ozx and .zarr.")
    ] = False,
    untrusted: Annotated[
        bool, typer.Option("--untrusted", help="Decode SRC in child processes with limits: it may be made to harm.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Compress one image or many."""
    from slimscan import each as maps
    from slimscan.child import apart
    from slimscan.cli import DONE, complain, worst
    from slimscan.cli.say import bar, note, say_json
    from slimscan.errors import InputError, NotReadable
    from slimscan.press.compress import compress

    named = policy_of(policy, modality, body_part)
    told = [ratio, psnr, max_error, lossless or None, setting, policy]
    alone = roi is not None and all(one is None for one in told)  # --inside and --outside are the target then
    target = None if certificate or alone else target_of(ratio, psnr, peak, max_error, lossless, setting, named)
    said = {
        "--ratio": ratio,
        "--psnr": psnr,
        "--max-error": max_error,
        "--lossless": lossless or None,
        "--setting": setting,
        "--policy": policy,
    }
    said |= {"--codec": codec, "--per": per if per != "volume" else None, "--roi": roi}
    if certificate and any(value is not None for value in said.values()):
        other = next(name for name, value in said.items() if value is not None)
        raise InputError(f"--certificate decides codec and target; leave {other} out")
    if per not in ("volume", "slice"):
        raise InputError(f'--per "{per}" is not known; allowed: volume, slice')
    chosen = maps.choose(each, workers, scheduler)
    if frames and certificate:
        raise InputError("--certificate speaks of volumes; leave it or --frames out")
    if certificate and residual:
        raise InputError("--certificate decides what is written; leave it or --residual out")
    if frames and roi is not None:
        raise InputError("--roi speaks of volumes; leave it or --frames out")
    pairs = frame_destinations(sources, output, form) if frames else destinations(sources, output, form)
    receipts: list[Receipt] = []
    status, failed = DONE, 0
    for source, place in pairs:
        try:
            with apart(untrusted), bar(Path(source).name) as progress:
                if certificate:
                    from slimscan.study.apply import apply_certificate

                    receipt = apply_certificate(
                        source,
                        place,
                        certificate,
                        each=chosen,
                        verify=not no_verify,
                        force=force,
                        allow_lossy_again=allow_lossy_again,
                        progress=progress,
                    )
                else:
                    receipt = compress(
                        source,
                        place,
                        target=target,
                        codec=codec,
                        per="slice" if frames else per,  # type: ignore[arg-type] # checked above
                        peak=peak_of(peak),
                        each=chosen,
                        verify=not no_verify,
                        force=force,
                        allow_lossy_again=allow_lossy_again,
                        frames=frames,
                        roi=roi,
                        inside=inside,
                        outside=outside,
                        roi_grow=roi_grow,
                        roi_threshold=roi_threshold,
                        residual=residual,
                        progress=progress,
                    )
            receipts.append(receipt)
            for sentence in receipt.notes:
                note(f"{receipt.output}: {sentence}")
            if not as_json:
                _tell(receipt)
        except Exception as error:
            if frames and isinstance(error, NotReadable) and "is no image" in str(error):
                note(f"{error}; passed over")
                continue
            if len(pairs) == 1 or isinstance(error, BrokenPipeError):
                raise
            status, failed = worst(status, complain(error)), failed + 1  # the other images are still done
    if as_json and len(pairs) == 1 and not frames:
        say_json(receipts[0])
    elif as_json:
        say_json({"results": receipts, "failed": failed})
    return status


def policy_of(policy: str | None, modality: str | None, body_part: str | None) -> Policy | None:
    """The guideline that was said, with what it needs to know; InputError for its options without it."""
    from slimscan.errors import InputError
    from slimscan.nouns import Policy

    if policy is None:
        alone = "--modality" if modality else "--body-part" if body_part else ""
        if alone:
            raise InputError(f"{alone} belongs to --policy; say both, or leave it out")
        return None
    return Policy(policy, modality or "", body_part or "")


def target_of(
    ratio: float | None,
    psnr: float | None,
    peak: str,
    max_error: str | None,
    lossless: bool,
    setting: str | None,
    policy: Policy | None = None,
) -> Target | Policy:
    """The one target that was said; InputError for none or several."""
    from slimscan.errors import InputError
    from slimscan.nouns import Lossless, Psnr, Ratio, Setting
    from slimscan.press.units import parse

    said: list[Target | Policy] = []
    if ratio is not None:
        said.append(Ratio(ratio))
    if psnr is not None:
        said.append(Psnr(psnr, peak_of(peak)))
    if max_error is not None:
        said.append(parse(max_error))
    if lossless:
        said.append(Lossless())
    if setting is not None:
        said.append(Setting.parse(setting))
    if policy is not None:
        said.append(policy)
    if len(said) != 1:
        came = " and ".join(str(one) for one in said) or "none"
        raise InputError(
            f"want one target of --ratio, --psnr, --max-error, --lossless, --setting, --policy, --certificate; came: {came}"
        )
    return said[0]


def peak_of(text: str) -> Any:
    """A named peak, or a number; InputError for anything else."""
    from slimscan.errors import InputError

    if text in ("stored", "range", "dtype"):
        return text
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not value > 0:
        raise InputError(f'--peak "{text}": want stored, range, dtype or a positive number, for example 4096')
    return value


def destinations(sources: list[str], output: str, form: str | None) -> list[tuple[str, str]]:
    """(source, destination) pairs; InputError when two sources would meet at one place."""
    from slimscan.cli.say import note
    from slimscan.errors import InputError

    if form is not None and form not in ("ozx", "nii.gz", "nii", "tif", "mha", "nrrd", "dicom"):
        raise InputError(f'--format "{form}" is not known; allowed: ozx, nii.gz, nii, tif, mha, nrrd, dicom')
    if len(sources) == 1 and form in (None, "dicom") and not _existing_folder(output):
        if output.endswith("/"):
            note(f"{output} is a folder: writing DICOM (--format ozx writes a file into it)")
        return [(sources[0], output)]
    if not (output.endswith("/") or _is_folder(output)):
        if len(sources) == 1:
            return [(sources[0], output)]
        raise InputError(f"{output}: {len(sources)} sources need a folder for OUT; end its name with /")
    ending = "/" if form == "dicom" else f".{form or 'ozx'}"
    pairs = [(source, f"{output.rstrip('/')}/{stem(source)}{ending}") for source in sources]
    places = [place for _, place in pairs]
    twice = next((place for place in places if places.count(place) > 1), None)
    if twice:
        raise InputError(f"{twice}: several sources would be written there; compress them one by one under other names")
    return pairs


def frame_destinations(sources: list[str], output: str, form: str | None) -> list[tuple[str, str]]:
    """(file, destination) of every DICOM file in the sources, in the same folders; below OUT/NAME when there are several.

    InputError for an output that is no folder, or a format that is not known.
    """
    from slimscan.cli.say import note
    from slimscan.errors import InputError
    from slimscan.press.frames import frame_pairs

    if form not in (None, "ozx", "tif", "dicom"):
        raise InputError(f'--format "{form}" with --frames; allowed: dicom, ozx, tif')
    if not (output.endswith("/") or _is_folder(output)):
        raise InputError(f"{output}: --frames writes a folder; end its name with /")
    suffix = ".dcm" if form in (None, "dicom") else f".{form}"
    pairs: list[tuple[str, str]] = []
    for source in sources:
        below = f"{output}/{stem(source)}" if len(sources) > 1 and _is_folder(source) else output
        found, seen = frame_pairs(source, below, suffix)
        if seen.passed_over:
            shown = ", ".join(seen.passed_over[:5]) + (", ..." if len(seen.passed_over) > 5 else "")
            note(f"{source}: passed over {len(seen.passed_over)} file(s) that are no DICOM image: {shown}")
        pairs += [(str(file), str(place)) for file, place in found]
    places = [place for _, place in pairs]
    if len(set(places)) != len(places):
        twice = next(place for place in places if places.count(place) > 1)
        raise InputError(f"{twice}: several sources would be written there; compress them one by one")
    return pairs


def _existing_folder(output: str) -> bool:
    """An existing folder is a place for files, unless it is itself what is to be replaced: a zarr, or DICOM images."""
    return _is_folder(output) and not output.endswith(".zarr") and not _holds_dicom(output)


def _holds_dicom(folder: str) -> bool:
    from slimscan.files.dicom import DICOM

    return DICOM.sniff(Path(folder), b"")


def _is_folder(name: str) -> bool:
    return os.path.isdir(name)  # noqa: PTH112 Path.is_dir raises for a name that is too long


def stem(source: str) -> str:
    """The name without its suffixes that tell the format."""
    name = Path(source).name
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return Path(name).stem if Path(source).is_file() else name


def region_pairs(regions: Mapping[str, Any], peak: str, unit: str) -> list[tuple[str, str]]:
    """What a receipt says of inside and outside, for say_pairs()."""
    from slimscan.cli.say import size

    found = []
    about = regions["region"]
    grown = f", grown {about['grow']}" if about.get("grow") else ""
    found.append(("region", f"{about['name'] or 'unnamed'} of {about['source'] or 'an array'}{grown}"))
    for name in ("inside", "outside"):
        part = regions[name]
        text = size(part["bytes"])
        if "voxels" in part:
            psnr = "nothing differs" if part["identical"] else f"{part['psnr_db']:.2f} dB (peak {peak})"
            real = f" ({part['max_abs_error_real']:g} {unit})" if unit and part.get("max_abs_error_real") else ""
            text = f"{part['voxels']} voxels, {psnr}, largest error {part['max_abs_error']:g}{real}, {text}"
        found.append((name, text))
    return found


def _tell(receipt: Receipt) -> None:
    from slimscan.cli.say import say_pairs, say_table, size

    print(f"{receipt.output}")
    pairs = [
        ("setting", receipt.setting),
        ("size", f"{size(receipt.file_bytes)} of {size(receipt.raw_bytes)} raw"),
        (
            "ratio",
            f"{receipt.ratio:.2f} {'for the base' if receipt.residual_bytes else 'on disk'}, {receipt.ratio_payload:.2f} for the encoded chunks alone",
        ),
    ]
    if receipt.residual_bytes is not None:
        both = f"{size(receipt.residual_bytes)} more restore the original: ratio {receipt.ratio_exact:.2f} with them"
        pairs.append(("residual", both))
    if receipt.mse is not None:
        psnr = "nothing differs" if receipt.identical else f"{receipt.psnr_db:.2f} dB (peak {receipt.peak})"
        real = f" ({receipt.max_abs_error_real:g} {receipt.unit})" if receipt.unit else ""
        pairs += [("PSNR", psnr), ("largest error", f"{receipt.max_abs_error:g} stored units{real}")]
    whole = sum(probe["part"] * probe["encoded"] / max(1, probe["pieces"]) for probe in receipt.probes)
    cost = f", after trying {whole:.1f} volumes' worth" if receipt.probes else ""
    pairs.append(("time", f"{receipt.seconds:.1f} s, {receipt.megabytes_per_second:.1f} MB/s{cost}"))
    if receipt.policy is not None:
        from slimscan.cli.policies import told

        pairs += told(receipt.policy)
    if receipt.history is not None and receipt.history["lossy_before"]:
        pairs.append(("history", f"compressed with loss before: {receipt.history['why']}"))
    if receipt.regions is not None:
        pairs += region_pairs(receipt.regions, receipt.peak, receipt.unit)
    say_pairs(pairs)
    for check in receipt.checks:
        print(f"  {'ok  ' if check.passed else 'FAIL'}  {check.name}: asked {check.asked}, got {check.got}")
    if receipt.candidates:
        print("  auto chose from")
        rows = [["codec", "value", "bits/voxel", "PSNR dB", "seconds", "remark"]]
        for row in receipt.candidates:
            rows.append(
                [
                    str(row["codec"]),
                    "lossless"
                    if row.get("value", 0) is None and "refused" not in row
                    else f"{row.get('value') or '':.5}",
                    str(row.get("bits_per_voxel", "")),
                    str(row.get("psnr_db", "") or ""),
                    f"{row['seconds']:.2f}",
                    "chosen" if row.get("chosen") else str(row.get("refused", ""))[:90],
                ]
            )
        say_table(rows)
