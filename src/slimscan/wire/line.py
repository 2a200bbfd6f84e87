"""A slow line on this machine: a proxy on the loopback that lets through so many bytes a second, so much later.

Rate: a token bucket a direction, shared by all connections. Delay: half the round trip each way, and one round trip more
before the first byte, as a handshake takes. Loss cannot be made by a proxy, since TCP repairs it: the rate is then what
wire.model says that one flow carries.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from slimscan.wire.model import HEADERS, MSS, Line

PIECE = 4096


@dataclass
class Bucket:
    """Bytes that may pass: `rate` a second, at most `burst` saved up. The clock is the loop's."""

    rate: float
    burst: float = 2 * PIECE
    held: float = 0.0
    since: float = -1.0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def take(self, count: int) -> None:
        """Wait until `count` bytes may pass."""
        async with self.turn:
            now = asyncio.get_running_loop().time()
            if self.since >= 0:
                self.held = min(self.burst, self.held + (now - self.since) * self.rate)
            self.since = now
            self.held -= count
            if self.held < 0:
                await asyncio.sleep(-self.held / self.rate)


@dataclass
class Meter:
    """What passed towards the client, and whether to cut: after `cut_after` more bytes every connection is closed."""

    port: int = 0
    passed: int = 0
    cut_after: int | None = None
    stop: Callable[[], object] = lambda: None

    def count(self, size: int) -> bool:
        """Add bytes; True when the line is cut here."""
        self.passed += size
        if self.cut_after is None:
            return False
        self.cut_after -= size
        return self.cut_after < 0


@contextmanager
def throttled(line: Line, port: int, host: str = "127.0.0.1") -> Iterator[Meter]:
    """A proxy to host:port, on a free port of the loopback, until the block ends."""
    meter, ready = Meter(), threading.Event()
    thread = threading.Thread(
        target=lambda: asyncio.run(_serve(line, host, port, meter, ready)), daemon=True, name="slow line"
    )
    thread.start()
    ready.wait(10)
    try:
        yield meter
    finally:
        meter.stop()
        thread.join(10)


async def _serve(line: Line, host: str, port: int, meter: Meter, ready: threading.Event) -> None:
    overhead = MSS / (MSS + HEADERS)
    down, up = Bucket(line.bytes_per_s), Bucket(line.rate / 8 * overhead)
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back: asyncio.StreamWriter | None = None
        ways: list[asyncio.Future[None]] = []
        try:
            await asyncio.sleep(line.rtt_s)
            there, back = await asyncio.open_connection(host, port)
            ways = [
                asyncio.ensure_future(_pump(reader, back, up, line.rtt_s / 2, None)),
                asyncio.ensure_future(_pump(there, writer, down, line.rtt_s / 2, meter)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            if not ways[1].done():  # the client has said all: the answer may still be under way
                await asyncio.wait([ways[1]], timeout=line.rtt_s)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for way in ways:
                way.cancel()
            for end in (writer, back):
                if end is not None:
                    end.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=PIECE)
    meter.port = server.sockets[0].getsockname()[1]
    meter.stop = lambda: loop.call_soon_threadsafe(ended.set)
    ready.set()
    await ended.wait()
    server.close()


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, bucket: Bucket, delay: float, meter: Meter | None
) -> None:
    """Bytes from one to the other until either ends; late by `delay`, in order."""
    loop = asyncio.get_running_loop()
    window = max(4, int(2 * delay * bucket.rate / PIECE) + 4)
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(window)

    async def deliver() -> None:
        while True:
            due, data = await under_way.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not data:
                return
            writer.write(data)
            await writer.drain()

    arriving = asyncio.ensure_future(deliver())
    try:
        with suppress(OSError):
            while data := await reader.read(PIECE):
                await bucket.take(len(data))
                if meter is not None and meter.count(len(data)):
                    return
                await under_way.put((loop.time() + delay, data))
            await under_way.put((loop.time() + delay, b""))
            await arriving
    finally:
        arriving.cancel()
