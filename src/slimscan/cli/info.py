"""slimscan info."""

from __future__ import annotations

from typing import Annotated, Any

import typer

HELP = """Say what an image is: shape, samples, geometry, size, and the receipt of its compression.

[bold]Example[/bold]

  slimscan info ct.ozx
"""


def command(
    path: Annotated[str, typer.Argument(metavar="PATH", help="Any image that slimscan reads.")],
    untrusted: Annotated[
        bool, typer.Option("--untrusted", help="Decode PATH in child processes with limits: it may be made to harm.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Print facts of one image."""
    from slimscan.child import apart
    from slimscan.cli.say import say_json, say_pairs, size
    from slimscan.press.about import about

    with apart(untrusted):
        facts = about(path)
    if as_json:
        say_json(facts)
        return 0
    print(facts["path"])
    spacing = " x ".join(f"{value:.4g}" for value in facts["spacing_mm"])
    pairs = [
        ("shape", f"{' x '.join(map(str, facts['shape']))} (z, y, x{', c' if len(facts['shape']) == 4 else ''})"),
        ("samples", f"{facts['dtype']}, {facts['bits']} bits"),
        ("spacing", f"{spacing} mm (z, y, x)"),
        ("size", f"{size(facts['file_bytes'])} of {size(facts['raw_bytes'])} raw, ratio {facts['ratio']:.2f} on disk"),
    ]
    if facts["residual_bytes"] is not None:
        base = f"ratio {facts['raw_bytes'] / facts['base_bytes']:.2f}"
        told = f"{size(facts['base_bytes'])} base ({base}) and {size(facts['residual_bytes'])} residual"
        pairs.append(("exact inside", f"{told}; `slimscan decompress --exact` restores the original"))
    if (facts["slope"], facts["intercept"]) != (1.0, 0.0):
        pairs.append(("real value", f"{facts['slope']:g} x stored + {facts['intercept']:g} {facts['unit']}".rstrip()))
    if facts["padding"] is not None:
        pairs.append(("padding", f"{facts['padding']}"))
    told = facts["header"].get("certificate")
    if told:
        pairs.append(("certificate", f"{told['study']}: certified {told['certified']}, used {told['used']}"))
    say_pairs(pairs)
    if facts["header"].get("segments"):
        from slimscan.cli.dicom_seg import tell_segments

        tell_segments(facts["header"]["segments"])
    if facts["receipt"]:
        _tell(facts["receipt"])
    return 0


def _tell(receipt: dict[str, Any]) -> None:
    from slimscan.cli.say import say_pairs

    print("  receipt")
    pairs = [("source", receipt["source"]), ("setting", receipt["setting"]), ("target", receipt["target"])]
    if receipt.get("mse") is not None:
        same = "nothing differs" if receipt["identical"] else f"{receipt['psnr_db']:.2f} dB (peak {receipt['peak']})"
        pairs += [("PSNR", same), ("largest error", f"{receipt['max_abs_error']:g} stored units")]
        pairs += [("source sha256", receipt["sha256"])]
    if receipt.get("regions"):
        from slimscan.cli.compress import region_pairs

        pairs += region_pairs(receipt["regions"], receipt["peak"], receipt.get("unit", ""))
    pairs.append(("made with", ", ".join(f"{name} {version}" for name, version in receipt["versions"].items())))
    say_pairs([(f"  {name}", str(value)) for name, value in pairs])
    for sentence in receipt.get("notes", ()):
        print(f"    note  {sentence}")
    for check in receipt["checks"]:
        print(
            f"    {'ok  ' if check['passed'] else 'FAIL'}  {check['name']}: asked {check['asked']}, got {check['got']}"
        )
