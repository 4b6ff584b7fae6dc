"""Just enough of the CUDA driver to hold arrays on a GPU, through ctypes and without a package.

The driver's library comes with the driver itself, so whatever machine can run an engine has it.
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass, field

import numpy as np

from smelt.errors import ArtifactError
from smelt.runtime.engine import Array

LIBRARY = {"win32": "nvcuda.dll"}.get(sys.platform, "libcuda.so.1")
SMALLEST = 256  # bytes; also the alignment that engines want


class NoGpu(ArtifactError):
    """There is no NVIDIA GPU here, so the artifact cannot run; it may be fine elsewhere."""

    def __init__(self, reason: str) -> None:
        self.reason = f"no GPU ({reason})"
        super().__init__(
            f"not run: {self.reason}",
            hint="open it on a machine with an NVIDIA GPU and its driver",
        )


@dataclass(eq=False)
class Held:
    """An array on the GPU; ``capacity`` is what was allocated for it."""

    address: int
    capacity: int
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    @property
    def bytes(self) -> int:
        """Size of its elements."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


@dataclass
class Cuda:
    """The first GPU, one stream on it, and buffers that are reused by size."""

    driver: ctypes.CDLL = field(default_factory=lambda: _driver())
    stream: ctypes.c_void_p = field(default_factory=ctypes.c_void_p)
    free: dict[int, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        device = ctypes.c_int()
        context = ctypes.c_void_p()
        self._do("cuDeviceGet", ctypes.byref(device), 0)
        # The primary context is the one that the CUDA runtime inside TensorRT uses, too.
        self._do("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._do("cuCtxSetCurrent", context)
        self._do("cuStreamCreate", ctypes.byref(self.stream), 0)

    def allocate(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Held:
        """An uninitialized array; one of no elements has an address, too, as engines want it."""
        held = Held(0, SMALLEST, shape, dtype)
        while held.capacity < held.bytes:
            held.capacity *= 2
        spare = self.free.get(held.capacity)
        if spare:
            held.address = spare.pop()
            return held
        address = ctypes.c_uint64()
        self._do("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(held.capacity))
        held.address = address.value
        return held

    def release(self, held: Held) -> None:
        """Give an array's memory back for reuse."""
        self.free.setdefault(held.capacity, []).append(held.address)

    def hold(self, array: Array) -> Held:
        """Copy an array to the GPU."""
        data = np.ascontiguousarray(array)
        held = self.allocate(data.shape, data.dtype)
        if data.nbytes:
            self._do(
                "cuMemcpyHtoDAsync_v2",
                ctypes.c_uint64(held.address),
                ctypes.c_void_p(data.ctypes.data),
                ctypes.c_size_t(data.nbytes),
                self.stream,
            )
            self.wait()  # `data` may be a temporary
        return held

    def fetch(self, held: Held) -> Array:
        """Copy an array from the GPU."""
        data = np.empty(held.shape, held.dtype)
        if data.nbytes:
            self._do(
                "cuMemcpyDtoHAsync_v2",
                ctypes.c_void_p(data.ctypes.data),
                ctypes.c_uint64(held.address),
                ctypes.c_size_t(data.nbytes),
                self.stream,
            )
            self.wait()
        return data

    def wait(self) -> None:
        """Return when all work on the stream is done."""
        self._do("cuStreamSynchronize", self.stream)

    def close(self) -> None:
        """Return the spare buffers to the driver."""
        for address in (address for spare in self.free.values() for address in spare):
            self._do("cuMemFree_v2", ctypes.c_uint64(address))
        self.free.clear()

    def _do(self, name: str, *arguments: object) -> None:
        code = getattr(self.driver, name)(*arguments)
        if code:
            raise ArtifactError(f"the GPU driver refuses {name} with code {code}")


def missing_gpu() -> str | None:
    """Why nothing can run on a GPU here; None where it can."""
    try:
        _driver()
    except NoGpu as error:
        return error.reason
    return None


def _driver() -> ctypes.CDLL:
    try:
        driver = ctypes.CDLL(LIBRARY)
    except OSError:
        raise NoGpu(f"{LIBRARY} is not installed") from None
    code = driver.cuInit(0)
    count = ctypes.c_int()
    if code or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        raise NoGpu(f"the driver reports code {code} and {count.value} devices")
    return driver
