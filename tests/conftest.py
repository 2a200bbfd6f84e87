"""What tests share: where real images are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images that SLIMSCAN_DATA names; the test is skipped without it."""
    named = os.environ.get("SLIMSCAN_DATA")
    if not named or not Path(named).is_dir():
        pytest.skip("SLIMSCAN_DATA names no folder of real images")
    return Path(named)
