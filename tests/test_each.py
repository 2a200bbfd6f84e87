"""Every map gives the same results in the same order, keeps few items under way, and passes errors on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from slimscan.each import CHOICES, choose
from slimscan.errors import InputError


def square(number: int) -> int:
    return number * number


def fail_at_three(number: int) -> int:
    if number == 3:
        raise InputError("three")
    return number


@pytest.mark.parametrize("name", [name for name in CHOICES if name != "dask"])
def test_results_keep_their_order(name: str) -> None:
    assert list(choose(name, 2)(square, range(20))) == [n * n for n in range(20)]


@pytest.mark.parametrize("name", ["serial", "threads", "processes"])
def test_an_error_comes_through_as_it_is(name: str) -> None:
    with pytest.raises(InputError, match=r"^three$"):
        list(choose(name, 2)(fail_at_three, range(10)))


def test_an_endless_source_is_read_only_a_little_ahead() -> None:
    taken = 0

    def endless() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    results = choose("threads", 2)(square, endless())
    assert [next(results) for _ in range(5)] == [1, 4, 9, 16, 25]
    assert taken <= 5 + 4
    results.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "workers", "message"),
    [
        ("cluster", None, '--each "cluster" is not known; allowed: serial, threads, processes, dask'),
        ("threads", 0, "--workers 0: at least 1 is needed"),
    ],
)
def test_wrong_words_are_refused(name: str, workers: int | None, message: str) -> None:
    with pytest.raises(InputError) as caught:
        choose(name, workers)
    assert str(caught.value) == message


def test_dask_says_when_no_scheduler_answers() -> None:
    pytest.importorskip("distributed")
    with pytest.raises(InputError, match="no Dask scheduler answers there"):
        list(choose("dask", scheduler="tcp://127.0.0.1:9")(square, range(3)))
