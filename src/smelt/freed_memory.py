"""Freed memory that the C library keeps for itself, given back to the system.

Weights are arrays of many megabytes, and glibc keeps freed ones of up to 32 MB as heap.
"""

from __future__ import annotations

import ctypes
import gc

#: mallopt's M_MMAP_THRESHOLD, and the bytes from which an array gets pages of its own.
MMAP_THRESHOLD, LARGE = -3, 1 << 20


def give_back_at_once() -> None:
    """From now on give an array's memory back when it is freed, where the C library can (glibc).

    For programs of ours: how memory is kept is a host's own business.
    """
    try:
        ctypes.CDLL(None).mallopt(MMAP_THRESHOLD, LARGE)
    except (AttributeError, OSError, TypeError):
        return


def give_back() -> None:
    """Collect garbage; return free pages of the heap, where the C library can (glibc)."""
    gc.collect()
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return
    trim(0)
