"""The public names are true, documented, and cost nothing until they are used."""

from __future__ import annotations

import inspect
import subprocess
import sys
import types

import pytest

import slimscan

CONTRACT = ("read", "write", "compress", "open", "CODECS", "METRICS")  # promised to other programs
HEAVY = (
    "torch",
    "av",
    "matplotlib",
    "SimpleITK",
    "zarr",
    "scipy.stats",
    "nibabel",
    "pydicom",
    "distributed",
    "skimage",
)


def loaded_after(code: str) -> set[str]:
    """The modules that a fresh interpreter holds after the code."""
    report = f"{code}\nimport sys\nsys.stderr.write('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_every_public_name_is_there_and_the_contract_is_public() -> None:
    for name in slimscan.__all__:
        assert getattr(slimscan, name) is not None
    assert set(CONTRACT) <= set(slimscan.__all__)
    assert set(dir(slimscan)) == {*slimscan.__all__, "__version__"}


def test_names_that_are_fetched_later_are_public_and_no_others() -> None:
    assert set(slimscan._WHERE) <= set(slimscan.__all__)
    with pytest.raises(AttributeError) as caught:
        slimscan.colour  # noqa: B018
    assert str(caught.value) == "module 'slimscan' has no attribute 'colour'"


@pytest.mark.parametrize("name", slimscan.__all__)
def test_what_is_public_says_what_it_does(name: str) -> None:
    found = getattr(slimscan, name)
    if isinstance(found, (types.FunctionType, type)):
        said = inspect.getdoc(found) or ""
        assert len(said.split()) >= 3, f"{name} has no docstring"
        assert not said.startswith(f"{name}("), f"{name} has the docstring that dataclasses make"


@pytest.mark.parametrize("module", ["slimscan.files", "slimscan.metrics", "slimscan.nouns"])
def test_the_public_names_of_the_rooms_are_true(module: str) -> None:
    room = __import__(module, fromlist=["x"])
    for name in room.__all__:
        found = getattr(room, name)
        if isinstance(found, types.FunctionType):
            assert inspect.getdoc(found), f"{module}.{name} has no docstring"


@pytest.mark.parametrize(
    "code",
    [
        "import slimscan",
        "from slimscan import Ratio, Setting, Volume",
        "from slimscan.cli import run\nassert run(['--version']) == 0",
        "from slimscan.cli import run\nassert run(['compress', '--help']) == 0",
        "from slimscan.cli import run\nassert run(['nonsense']) == 2",
    ],
)
def test_starting_up_loads_nothing_heavy(code: str) -> None:
    assert not loaded_after(code).intersection(HEAVY)


def test_every_error_is_a_slimscan_error() -> None:
    from slimscan import errors

    for name, found in vars(errors).items():
        if inspect.isclass(found) and found.__module__ == "slimscan.errors":
            assert issubclass(found, errors.SlimscanError), name
            assert inspect.getdoc(found), name
