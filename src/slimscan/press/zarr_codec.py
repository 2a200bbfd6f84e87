"""The zarr codecs: with slimscan installed, plain zarr.open reads what slimscan wrote.

"slimscan" is any codec behind its envelope. The imagecodecs_* names are those of imagecodecs-zarr (Python 3.12 and
newer) for chunks that are bare standard codestreams; where that package is not installed, these classes answer to them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from zarr.abc.codec import ArrayBytesCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer, NDBuffer

from slimscan.codecs import CODECS
from slimscan.errors import CodecError
from slimscan.nouns import Layout
from slimscan.press.scheme import ENVELOPE, Scheme, decode_within, encode, limits_of, prepare


@dataclass(frozen=True)
class SlimscanCodec(ArrayBytesCodec):
    """Chunks in slimscan's envelope; the configuration is the scheme. `value`: the knob when writing, None: lossless."""

    is_fixed_size = False
    configuration: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """From an entry of zarr.json."""
        return cls(configuration=dict(data.get("configuration", {})))

    def to_dict(self) -> dict[str, Any]:
        """The entry of zarr.json."""
        return {"name": "slimscan", "configuration": dict(self.configuration)}

    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        pixels = await asyncio.to_thread(self._pixels, chunk_bytes.to_bytes(), tuple(chunk_spec.shape))
        return chunk_spec.prototype.nd_buffer.from_numpy_array(pixels)

    def _pixels(self, payload: bytes, shape: tuple[int, ...]) -> Any:
        if self.configuration.get("coder") == "base":
            raise CodecError("this residual is coded beside its base: slimscan.open(path, exact=True) adds both")
        scheme = Scheme.from_json(self.configuration)
        slices = shape[0] if scheme.bare else ENVELOPE.unpack_from(payload)[0]
        pixels = decode_within(limits_of(scheme), scheme, payload, (slices, *shape[1:]))
        if slices == shape[0]:
            return pixels
        whole = np.zeros(shape, pixels.dtype)  # the last slab of a volume is shorter than zarr's chunk
        whole[:slices] = pixels[: shape[0]]
        return whole

    async def _encode_single(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        scheme = Scheme.from_json(self.configuration)
        value = self.configuration.get("value")
        pixels = chunk_array.as_numpy_array()
        payload = await asyncio.to_thread(lambda: encode(scheme, prepare(scheme, pixels), value))
        return chunk_spec.prototype.buffer.from_bytes(payload)

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Not known before encoding."""
        raise NotImplementedError  # the word that zarr asks for


@dataclass(frozen=True)
class _Bare(ArrayBytesCodec):
    """One bare codestream a slice."""

    is_fixed_size = False
    zarr_name: ClassVar[str] = ""
    codec: ClassVar[str] = ""
    configuration: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """From an entry of zarr.json."""
        return cls(configuration=dict(data.get("configuration", {})))

    def to_dict(self) -> dict[str, Any]:
        """The entry of zarr.json."""
        return {"name": self.zarr_name, "configuration": dict(self.configuration)}

    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        kind = chunk_spec.dtype.to_native_dtype()
        layout = Layout(tuple(chunk_spec.shape), str(kind.newbyteorder("=")), 8 * kind.itemsize)
        found = CODECS[self.codec]
        pixels = await asyncio.to_thread(found.decode, chunk_bytes.to_bytes(), layout)
        return chunk_spec.prototype.nd_buffer.from_numpy_array(pixels)

    async def _encode_single(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        pixels = chunk_array.as_numpy_array()
        layout = Layout(pixels.shape, str(pixels.dtype), 8 * pixels.dtype.itemsize)
        found = CODECS[self.codec]
        payload = await asyncio.to_thread(found.encode, pixels, layout, None)
        return chunk_spec.prototype.buffer.from_bytes(payload)

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Not known before encoding."""
        raise NotImplementedError  # the word that zarr asks for


class Jpeg2k(_Bare):
    """imagecodecs_jpeg2k."""

    zarr_name: ClassVar[str] = "imagecodecs_jpeg2k"
    codec: ClassVar[str] = "jpeg2000"


class Htj2k(_Bare):
    """imagecodecs_htj2k."""

    zarr_name: ClassVar[str] = "imagecodecs_htj2k"
    codec: ClassVar[str] = "htj2k"


class Jpegls(_Bare):
    """imagecodecs_jpegls."""

    zarr_name: ClassVar[str] = "imagecodecs_jpegls"
    codec: ClassVar[str] = "jpegls"


class Jpegxl(_Bare):
    """imagecodecs_jpegxl."""

    zarr_name: ClassVar[str] = "imagecodecs_jpegxl"
    codec: ClassVar[str] = "jpegxl"
