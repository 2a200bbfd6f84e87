"""The error tree.

    SlimscanError                  every error that slimscan raises on purpose; its text is one line for people
    ├── InputError                 what came in cannot be used (a file, an array, an argument)
    │   ├── NotReadable            no reader knows this file, or the file is damaged
    │   ├── GeometryError          slices that do not make one regular volume
    │   └── LayoutRefused          a codec cannot hold this shape, type or number of bits
    ├── CodecError                 a codec failed, or its bytes are damaged
    │   └── ChecksumError          stored bytes are not the bytes that were written
    ├── TargetUnreachable          the asked target cannot be met; the text says what can
    ├── CheckFailed                the work was done, and what was read back is not what was promised
    ├── OutputError                the destination cannot be written (exists, full disk, no permission)
    ├── ServerError                an archive cannot be reached, refuses, or broke off; `.stored` names what it holds now
    └── MissingExtra               an optional package is not installed; the text names the extra

A message says what was asked, what is allowed, what came, and what to do next, in one line. Libraries raise; only the
command line prints and exits: CheckFailed is exit status 3, everything else here is exit status 2.
"""

from __future__ import annotations


class SlimscanError(Exception):
    """Every error that slimscan raises on purpose."""


class InputError(SlimscanError):
    """What came in cannot be used."""


class NotReadable(InputError):
    """No reader knows this file, or the file is damaged."""


class GeometryError(InputError):
    """Slices that do not make one regular volume."""


class LayoutRefused(InputError):
    """A codec cannot hold this shape, type or number of bits."""


class CodecError(SlimscanError):
    """A codec failed, or its bytes are damaged."""


class ChecksumError(CodecError):
    """Stored bytes are not the bytes that were written."""


class TargetUnreachable(SlimscanError):
    """The asked target cannot be met; the text says what can."""


class CheckFailed(SlimscanError):
    """The work was done, and what was read back is not what was promised."""


class OutputError(SlimscanError):
    """The destination cannot be written."""


class ServerError(SlimscanError):
    """An archive cannot be reached, refuses, or broke off half-way. stored: SOP Instance UIDs that it holds since."""

    stored: tuple[str, ...] = ()


class MissingExtra(SlimscanError):
    """An optional package is not installed; the text names the extra."""

    def __init__(self, what: str, package: str, extra: str) -> None:
        super().__init__(f'{what} needs the package {package}, which is not installed: pip install "slimscan[{extra}]"')
        self.package = package
        self.extra = extra
