"""Functions shaped like map(): the same work in order, on one core, on threads, on processes or on a Dask cluster.

Each takes (function, items) and yields function(item) in the order of the items. At most a few items a worker are under
way at once, so an endless iterator of slices never fills the memory. The results never depend on which one is chosen.
"""

from __future__ import annotations

import atexit
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any, Protocol, TypeVar

from slimscan.errors import InputError
from slimscan.nouns import Needs

A = TypeVar("A")
B = TypeVar("B")


class Each(Protocol):
    """Ordered map."""

    def __call__(self, function: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
        """function(item) for every item, in order."""
        ...


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def serial(function: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """One after the other, in this thread."""
    return map(function, items)


def threads(workers: int | None = None) -> Each:
    """Threads of this process: for library calls that release the interpreter's lock."""
    count = workers or cores()
    return serial if count == 1 else _pooled(lambda: ThreadPoolExecutor(count), count)


def processes(workers: int | None = None) -> Each:
    """Child processes: for library calls that hold the interpreter's lock. Functions and items must pickle."""
    count = workers or cores()
    return _pooled(lambda: ProcessPoolExecutor(count, get_context("spawn"), _not_without_parent), count)


def dask(scheduler: str | None = None, workers: int | None = None) -> Each:
    """A Dask cluster at `scheduler` (tcp://host:port), or one started here when None.

    InputError when no scheduler answers there; MissingExtra without the package distributed.
    """
    Needs("distributed", "distributed", "dask").demand("--each dask")
    import distributed

    start: Any = distributed.Client  # the package's functions carry no types
    clients: list[Any] = []  # one for all calls, made at the first: starting a cluster takes seconds

    def client() -> Any:
        if not clients:
            try:
                if scheduler:
                    clients.append(start(scheduler, timeout="10s", set_as_default=False))
                else:
                    own = {"n_workers": workers or cores(), "threads_per_worker": 1, "dashboard_address": None}
                    clients.append(start(**own, set_as_default=False))
            except (OSError, TimeoutError, ValueError) as error:
                raise InputError(
                    f"--scheduler {scheduler}: no Dask scheduler answers there ({error}); start one with `dask scheduler`"
                ) from error
            atexit.register(clients[0].close)
        return clients[0]

    def run(function: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
        window = 4 * max(1, sum(client().nthreads().values()))
        return _ordered(lambda item: client().submit(function, item, pure=False), items, window)

    return run


CHOICES: dict[str, str] = {
    "serial": "one after the other",
    "threads": "threads of this process (the default)",
    "processes": "child processes",
    "dask": "a Dask cluster, --scheduler tcp://host:port",
}


def choose(name: str, workers: int | None = None, scheduler: str | None = None) -> Each:
    """The map of that name; InputError for an unknown one."""
    if workers is not None and workers < 1:
        raise InputError(f"--workers {workers}: at least 1 is needed")
    if name == "serial":
        return serial
    if name == "threads":
        return threads(workers)
    if name == "processes":
        return processes(workers)
    if name == "dask":
        return dask(scheduler, workers)
    raise InputError(f'--each "{name}" is not known; allowed: {", ".join(CHOICES)}')


def _not_without_parent() -> None:
    """In a worker: end when the parent was killed, who can no longer say so."""

    def watch() -> None:
        if (parent := parent_process()) is not None:
            parent.join()
            os._exit(1)

    Thread(target=watch, daemon=True).start()


@contextmanager
def _deaf() -> Iterator[None]:
    """Children started inside never hear Ctrl-C, from their first instruction on: the parent answers for them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _pooled(make: Callable[[], Executor], count: int) -> Each:
    def run(function: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
        pool = make()

        def submit(item: A) -> Any:
            with _deaf():  # pools start their workers here
                return pool.submit(function, item)

        try:
            yield from _ordered(submit, items, count + 1)  # items may be slabs of many megabytes
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    return run


def _ordered(submit: Callable[[Any], Any], items: Iterable[Any], window: int) -> Iterator[Any]:
    """Results in order with at most `window` items under way."""
    under_way: deque[Any] = deque()  # futures of whichever library
    try:
        for item in items:
            under_way.append(submit(item))
            if len(under_way) >= window:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        for future in under_way:
            future.cancel()
