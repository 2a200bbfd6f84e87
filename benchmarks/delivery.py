"""A CT over a thin line: when it can be used, when its region is as it was stored, and when it is exact.

    python benchmarks/delivery.py [--rate 2mbps] [--region image:bone] [--codec jpeg2000] [--outside ratio:100] [--quick]

A head CT enlarged to 191 x 512 x 512 (100 MB) is compressed with its region exact and a residual, and received through a
proxy on the loopback that is as slow as the line, by a real clock: decoding and writing included. The .nii.gz crosses the
same proxy. Takes about four minutes at 2mbps, and is not part of the tests. Everything is deleted at the end.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import urlopen

from common import SEED, enlarged, images, run, save_nifti, slimscan, table, where

from slimscan.press.deliver import plan_of, receive
from slimscan.press.send import USABLE, serving, simulated
from slimscan.wire.line import throttled
from slimscan.wire.model import Line, line_of

SHAPE = (191, 512, 512)
REGION_S = 20.0


def fetched(folder: Path, name: str, line: Line) -> float:
    """Seconds for a whole file of a folder through the proxy: a plain HTTP server behind it."""
    import functools
    import http.server
    import threading

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_unused: object) -> None:
            pass

    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=made.serve_forever, daemon=True).start()
    try:
        with throttled(line, made.server_address[1]) as meter:
            started = time.perf_counter()
            with urlopen(f"http://127.0.0.1:{meter.port}/{name}") as answer:
                while answer.read(1 << 16):
                    pass
            return time.perf_counter() - started
    finally:
        made.shutdown()
        made.server_close()


def main(arguments: list[str]) -> int:
    """Print the table; 1 when the region takes longer than REGION_S, or the original longer than .nii.gz."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", default="2mbps")
    parser.add_argument("--region", default="image:bone")
    parser.add_argument("--codec", default="jpeg2000")
    parser.add_argument("--outside", default="ratio:100")
    parser.add_argument("--out", default="out.nii", help="name of what is written: .nii or .nii.gz")
    parser.add_argument("--quick", action="store_true", help="a small image over a fast line: shows that it runs")
    given = parser.parse_args(arguments)
    line = line_of("50mbps" if given.quick else given.rate)
    shape = (24, 128, 128) if given.quick else SHAPE
    print(f"## Delivery\n\n{where(SEED)}\n")
    name, volume = next(iter(images(("head CT",)).items()))
    with tempfile.TemporaryDirectory() as held:
        folder = Path(held)
        pixels = enlarged(volume, shape)
        source = save_nifti(pixels, folder / "ct.nii.gz")
        asked = ["--codec", given.codec, "--roi", given.region, "--outside", given.outside, "--residual", "--json"]
        made = json.loads(run(slimscan("compress", source, "-o", folder / "ct.ozx", *asked)).stdout)
        plan = plan_of(folder / "ct.ozx")
        # At the same time, each through a line of its own.
        with ThreadPoolExecutor(1) as beside, serving(folder) as port, throttled(line, port) as meter:
            other = beside.submit(fetched, folder, "ct.nii.gz", line)
            done = receive(f"http://127.0.0.1:{meter.port}/ct.ozx", folder / given.out)
            whole = other.result()
        paper = simulated(folder / "ct.ozx", line, against=source, codecs=("jpegls", "jpeg2000", "htj2k"))
    rows = []
    sent = 0
    for row, step in zip(paper.rows, done.steps, strict=False):
        sent += step.bytes
        usable = "more came before" if step.usable_s is None else f"{step.usable_s:.1f}"
        rows.append([USABLE[step.step], f"{sent / 1e6:.2f}", f"{row.model_s:.1f}", f"{step.arrived_s:.1f}", usable])
    for row in paper.rows[len(plan.steps) :]:
        clock = f"{whole:.1f}" if row.what.startswith(".nii.gz") else ""
        rows.append([row.what, f"{row.bytes / 1e6:.2f}", f"{row.model_s:.1f}", clock, ""])
    print(
        f"{name}, {'x'.join(map(str, shape))} int16, {pixels.nbytes / 1e6:.0f} MB, over {line}; {' '.join(asked[:-1])}"
    )
    print(f"file {made['file_bytes'] / 1e6:.2f} MB, received exact: {'yes' if done.exact else 'no'}\n")
    print(table(["what", "MB so far", "s by the model", "s until it was here", "s until it could be opened"], rows))
    times = {step.step: step.usable_s or step.arrived_s for step in done.steps}
    late = times.get("region", max(times.values())) > REGION_S or max(times.values()) > whole or not done.exact
    return int(late and not given.quick)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
