"""Who is let in: the token, the host names, and how often one may knock."""

from __future__ import annotations

import hmac
import ipaddress
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from slimscan.errors import InputError

VARIABLE = "SLIMSCAN_TOKEN"
SHORTEST = 16  # characters of a token
MOST_PEERS = 4096


def token_from(file: str | Path | None) -> str:
    """The token in a file (its first line) or in the environment, "" when there is none; InputError for a weak one."""
    if file is None:
        said, where = os.environ.get(VARIABLE, ""), VARIABLE
        if not said:
            return ""
    else:
        where = str(file)
        try:
            with Path(file).open(encoding="utf-8") as lines:
                said = lines.readline(4096)
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{where}: the token cannot be read ({type(error).__name__}); name a text file") from error
    said = said.strip()
    if len(said) < SHORTEST or not said.isascii() or not said.isprintable() or " " in said:
        raise InputError(
            f"{where}: a token has at least {SHORTEST} printable characters without spaces; "
            'make one with: python -c "import secrets; print(secrets.token_urlsafe(32))"'
        )
    return said


def is_loopback(host: str) -> bool:
    """Whether a host name or address stays on this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def admit_host(host: str, token: str) -> None:
    """InputError for an address that others can reach when there is no token."""
    if not is_loopback(host) and not token:
        raise InputError(
            f"--host {host}: others can reach that address, so a token is needed (--token-file, or {VARIABLE}), and TLS "
            "in front of it (a reverse proxy, or an SSH tunnel): this server speaks plain HTTP"
        )


def right(field: str | None, token: str) -> bool:
    """Whether an Authorization field carries the token; compared in constant time. Always, when no token is set."""
    if not token:
        return True
    scheme, _, said = (field or "").partition(" ")
    same = hmac.compare_digest(said.strip().encode("utf-8", "replace"), token.encode())
    return same and scheme.lower() == "bearer"


def right_host(field: str | None, token: str) -> bool:
    """Whether the Host field names this machine: without a token, a page elsewhere may point its own name at it."""
    if token:
        return True
    name = (field or "").strip()
    bare = name[: name.rfind("]") + 1] if name.startswith("[") else name.partition(":")[0]
    return is_loopback(bare)


@dataclass
class Allowance:
    """A token bucket a peer: `burst` requests at once, `rate` a second after that."""

    rate: float
    burst: float
    clock: Callable[[], float] = time.monotonic
    _held: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def take(self, peer: str, cost: float = 1.0) -> bool:
        """Whether the peer may go on."""
        with self._lock:
            now = self.clock()
            left, since = self._held.pop(peer, (self.burst, now))
            left = min(self.burst, left + (now - since) * self.rate)
            allowed = left >= cost
            self._held[peer] = (left - cost if allowed else left, now)
            while len(self._held) > MOST_PEERS:
                self._held.popitem(last=False)
            return allowed
