"""Talking to an archive (PACS): by DICOMweb, or by DIMSE, the older protocol of DICOM.

connect(address) gives a Server, a record of functions that are the same for both; find, instances and held ask it;
receive draws instances with every check that a server's word needs. Nothing here replaces anything on a server: what
may be stored is decided one floor up, by who has asked first.
"""

from __future__ import annotations

from slimscan.errors import InputError
from slimscan.pacs.noun import Address, Instance, Server, address, title

__all__ = ["Address", "Instance", "Server", "address", "connect"]

TIMEOUT = 30.0  # seconds without a word from the server


def connect(
    where: str | Address, *, calling: str = "SLIMSCAN", timeout: float = TIMEOUT, listen: str | None = None
) -> Server:
    """A server by its address: http(s)://host:port/dicom-web, or dicom://CALLED@host:port.

    calling: our AE title, for dicom://. timeout: seconds. listen: "[HOST:]PORT" where the server may deliver what is
    drawn by C-MOVE; without it C-GET is used. MissingExtra when the package for it is not installed; InputError for an
    address or a title that cannot be. Nothing is said to the server yet.
    """
    place = address(where) if isinstance(where, str) else where
    if not 0 < timeout <= 86400:
        raise InputError(f"timeout {timeout:g} s: want a number of seconds above 0, for example 30")
    if place.kind == "web":
        if listen is not None:
            raise InputError(f"{place.name}: --listen is for dicom:// addresses; DICOMweb needs no port here")
        from slimscan.pacs.web import open_web

        return open_web(place, timeout)
    from slimscan.pacs.dimse import open_dimse

    return open_dimse(place, title(calling, "calling"), timeout, listen)
