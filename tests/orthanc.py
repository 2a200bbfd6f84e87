"""A real Orthanc on the loopback, with a folder of its own, stopped by its process id."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

PLUGINS = (Path("/usr/share/orthanc/plugins"), Path("/usr/local/share/orthanc/plugins"))
WEB = "libOrthancDicomWeb.so"


@dataclass(frozen=True)
class Orthanc:
    """web, dicom: addresses. listen: the port that it knows for the AE title SLIMSCAN. log: what it says."""

    web: str
    dicom: str
    port: int
    listen: int
    rest: str
    log: Path
    process: subprocess.Popen[bytes]


@contextmanager
def orthanc(folder: Path, **more: object) -> Iterator[Orthanc]:
    """Started in `folder`; the test is skipped where Orthanc or its DICOMweb plugin is not installed."""
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    plugin = next((place / WEB for place in PLUGINS if (place / WEB).is_file()), None)
    if program is None or plugin is None:
        pytest.skip("Orthanc with its DICOMweb plugin is not installed (Debian: orthanc orthanc-dicomweb)")
    http, dicom, listen = free_ports(3)
    configuration = {
        "Name": "test",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "index"),
        "HttpPort": http,
        "DicomPort": dicom,
        "DicomAet": "ORTHANC",
        "DicomCheckCalledAet": True,
        "AuthenticationEnabled": False,
        "RemoteAccessAllowed": False,
        "DicomAlwaysAllowEcho": True,
        "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "OverwriteInstances": True,  # the server would replace: it is slimscan that must not
        "DicomModalities": {"slimscan": ["SLIMSCAN", "127.0.0.1", listen]},
        "Plugins": [str(plugin)],
        **more,
    }
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    log = folder / "log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [program, str(folder / "orthanc.json")], stdout=said, stderr=subprocess.STDOUT, cwd=folder
        )
    try:
        rest = f"http://127.0.0.1:{http}"
        _wait(f"{rest}/system", process, log)
        yield Orthanc(f"{rest}/dicom-web", f"dicom://ORTHANC@127.0.0.1:{dicom}", dicom, listen, rest, log, process)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on just now."""
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(300):
        try:
            with opener.open(url, timeout=5) as answer:
                answer.read()
                return
        except OSError as error:
            if isinstance(error, urllib.error.HTTPError):  # it asks for a password: it runs
                error.close()
                return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    pytest.skip(f"Orthanc does not start here: {log.read_text(errors='replace')[-400:]}")
