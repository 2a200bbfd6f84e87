"""NDPI, SCN and MRXS slides made from their descriptions in OpenSlide's sources: no free file is small enough to ship."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from slides_made import picture

_SCN_HEAD = '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
_SCN_IMAGE = """<image name="{name}"><device model="Leica SCN400" version="1"/>
<pixels sizeX="{w}" sizeY="{h}">{dimensions}</pixels>
<view sizeX="{vw}" sizeY="{vh}" offsetX="0" offsetY="0"/><scanSettings>
<objectiveSettings><objective>{power}</objective></objectiveSettings>
<illuminationSettings><illuminationSource>brightfield</illuminationSource></illuminationSettings>
</scanSettings></image>"""
_DIMENSION = '<dimension sizeX="{w}" sizeY="{h}" r="{r}" ifd="{ifd}"/>'


def ndpi(path: Path) -> Path:
    """A Hamamatsu-like file: 960 x 1200 at 20x, 480 x 600 at 10x, each one JPEG with restart markers, and a macro."""
    base = picture()
    out = bytearray(struct.pack("<2sHQ", b"II", 42, 0))
    link = 4

    def put(raw: bytes) -> int:
        out.extend(raw + b"\0" * (len(raw) % 2))
        return len(out) - len(raw) - len(raw) % 2

    for step, lens in ((1, 20.0), (2, 10.0), (8, -1.0)):
        pixels = np.ascontiguousarray(base[::step, ::step])
        (h, w), stream = pixels.shape[:2], _jpeg(pixels, lens > 0)
        at = put(stream)
        bits, scale = put(struct.pack("<3H", 8, 8, 8)), put(struct.pack("<2I", 20000 // step, 1))
        make, model = put(b"Hamamatsu\0"), put(b"C9600\0\0\0")
        power = struct.unpack("<I", struct.pack("<f", lens))[0]
        entries = [(254, 4, 1, 0), (256, 4, 1, w), (257, 4, 1, h), (258, 3, 3, bits), (259, 3, 1, 7), (262, 3, 1, 6)]
        entries += [(271, 2, 10, make), (272, 2, 6, model), (273, 4, 1, at), (277, 3, 1, 3), (278, 4, 1, h)]
        entries += [(279, 4, 1, len(stream)), (282, 5, 1, scale), (283, 5, 1, scale), (296, 3, 1, 3), (65420, 4, 1, 1)]
        entries += [(65421, 11, 1, power), (65422, 9, 1, 0), (65423, 9, 1, 0), (65424, 9, 1, 0)]
        struct.pack_into("<Q", out, link, len(out))
        out += struct.pack("<H", len(entries))
        for entry in entries:
            out += struct.pack("<HHII", *entry)
        link = len(out)
        out += bytes(8 + 4 * len(entries))  # the next directory, and the upper halves of the values
    path.write_bytes(out)
    return path


def _jpeg(pixels: NDArray[np.uint8], restart: bool) -> bytes:
    held = io.BytesIO()
    more: dict[str, Any] = {"restart_marker_rows": 1} if restart else {}
    Image.fromarray(pixels).save(held, "JPEG", quality=90, subsampling=0, **more)
    return held.getvalue()


def scn(path: Path) -> Path:
    """A Leica-like file: one scan of 960 x 1200 in the corner of a glass twice as large, two levels and a macro."""
    base = picture()
    nm = 500

    def image(name: str, sizes: list[tuple[int, int]], first: int, view: tuple[int, int], power: str) -> str:
        said = "".join(_DIMENSION.format(w=w, h=h, r=r, ifd=first + r) for r, (h, w) in enumerate(sizes))
        (h, w), (vh, vw) = sizes[0], view
        return _SCN_IMAGE.format(name=name, w=w, h=h, dimensions=said, vw=vw, vh=vh, power=power)

    glass = f'<collection name="made" sizeX="{2400 * nm}" sizeY="{1920 * nm}"><barcode>x</barcode>'
    macro = image("macro", [(120, 150)], 0, (1920 * nm, 2400 * nm), "0.6")
    scan = image("scan", [(960, 1200), (480, 600)], 1, (960 * nm, 1200 * nm), "20")
    words = f"{_SCN_HEAD}{glass}{macro}{scan}</collection></scn>"
    tiled: dict[str, Any] = {"metadata": None, "software": False, "tile": (256, 256), "compression": "jpeg"}
    tiled |= {"photometric": "rgb", "compressionargs": {"level": 90}, "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path, bigtiff=True) as out:
        out.write(np.ascontiguousarray(base[::8, ::8]), description=words, resolution=(2500, 2500), **tiled)
        out.write(base, resolution=(20000, 20000), **tiled)
        out.write(np.ascontiguousarray(base[::2, ::2]), subfiletype=1, resolution=(10000, 10000), **tiled)
    return path


def mrxs(path: Path, side: int = 240) -> Path:
    """A MIRAX-like slide: two levels of PNG tiles, 0.5 micrometres a pixel, in files beside `path`."""
    base = picture()
    folder = path.with_suffix("")
    folder.mkdir()
    path.write_bytes(b"made")
    rows, cols = base.shape[0] // side, base.shape[1] // side
    ini: dict[str, dict[str, Any]] = {
        "GENERAL": {
            "SLIDE_VERSION": "01.02",
            "CURRENT_SLIDE_VERSION": "01.02",
            "SLIDE_ID": "MADE0001",
            "IMAGENUMBER_X": cols,
            "IMAGENUMBER_Y": rows,
            "OBJECTIVE_MAGNIFICATION": 20,
        },
        "HIERARCHICAL": {
            "HIER_COUNT": 1,
            "NONHIER_COUNT": 0,
            "INDEXFILE": "Index.dat",
            "HIER_0_NAME": "Slide zoom level",
            "HIER_0_COUNT": 2,
            "HIER_0_SECTION": "SZ",
        },
        "DATAFILE": {"FILE_COUNT": 1, "FILE_0": "Data0000.dat"},
    }
    data, levels = bytearray(b"01.02MADE0001".ljust(64, b"\0")), []
    for k in range(2):
        step = 2**k
        ini["HIERARCHICAL"] |= {f"HIER_0_VAL_{k}": f"ZoomLevel_{k}", f"HIER_0_VAL_{k}_SECTION": f"L{k}"}
        sizes = {"DIGITIZER_WIDTH": side, "DIGITIZER_HEIGHT": side, "OVERLAP_X": 0, "OVERLAP_Y": 0}
        scale = {"MICROMETER_PER_PIXEL_X": 0.5 * step, "MICROMETER_PER_PIXEL_Y": 0.5 * step}
        ini[f"L{k}"] = (
            sizes | scale | {"IMAGE_FORMAT": "PNG", "IMAGE_FILL_COLOR_BGR": 0xFFFFFF, "IMAGE_CONCAT_FACTOR": k}
        )
        pixels, records = base[::step, ::step], []
        for y in range(0, rows, step):
            for x in range(0, cols, step):
                tile = np.full((side, side, 3), 255, np.uint8)
                piece = pixels[y // step * side :, x // step * side :][:side, :side]
                tile[: piece.shape[0], : piece.shape[1]] = piece
                held = io.BytesIO()
                Image.fromarray(tile).save(held, "PNG")
                records.append((y * cols + x, len(data), len(held.getvalue()), 0))
                data += held.getvalue()
        levels.append(records)
    words = [f"[{part}]\n" + "".join(f"{key} = {value}\n" for key, value in held.items()) for part, held in ini.items()]
    (folder / "Slidedat.ini").write_text("".join(words))
    (folder / "Data0000.dat").write_bytes(data)
    (folder / "Index.dat").write_bytes(_index(levels))
    return path


def _index(levels: list[list[tuple[int, int, int, int]]]) -> bytes:
    """Version and id, where the two tables begin, a pointer a level, and for each a page of (place, offset, bytes, file)."""
    out = bytearray(b"01.02MADE0001")
    table = len(out) + 8
    out += struct.pack("<2i", table, table + 4 * len(levels)) + bytes(4 * len(levels) + 4)
    for k, records in enumerate(levels):
        struct.pack_into("<i", out, table + 4 * k, len(out))
        out += struct.pack("<2i", 0, len(out) + 8) + struct.pack("<2i", len(records), 0)
        for record in records:
            out += struct.pack("<4i", *record)
    return bytes(out)
