"""The examples of docs/training-data.md run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from phantoms import head

from slimscan import Lossless, Volume, compress

PAGE = Path(__file__).resolve().parents[1] / "docs" / "training-data.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("training")
    for kind in ("images", "masks"):
        (out / kind).mkdir()
    for number in range(2):
        volume = head((12, 48, 40), seed=number)
        labels = np.zeros(volume.shape, np.uint8)
        labels[4:6, 20:24, 10:14] = 1
        compress(volume, out / "images" / f"{number}.ozx", target=Lossless(), codec="htj2k")
        compress(
            Volume(labels, volume.affine_mm, bits=8), out / "masks" / f"{number}.ozx", target=Lossless(), codec="jpegls"
        )
    return out


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("number", range(7))
def test_the_example_runs(number: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(BLOCKS) == 7
    for package in ("torch", "monai", "torchio"):
        if re.search(rf"\b{package}\b", BLOCKS[number]):
            pytest.importorskip(package, reason=f"the extra {package} is not installed")
    monkeypatch.chdir(folder)
    names: dict[str, object] = {}
    exec(compile(BLOCKS[number], f"{PAGE.name}, block {number + 1}", "exec"), names)
    if number == 0:
        assert tuple(names["x"].shape) == tuple(names["y"].shape) == (2, 1, 8, 32, 32)  # type: ignore[attr-defined]
    if number == 1:
        assert tuple(names["x"].shape) == tuple(names["y"].shape) == (8, 1, 32, 32, 8)  # type: ignore[attr-defined]
    if number == 3:
        assert names["patch"].shape == (1, 8, 32, 32)  # type: ignore[attr-defined]
