"""Freed memory that the C library keeps for itself, given back to the system."""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """Return free pages of the heap, where the C library can (glibc); nothing elsewhere.

    Weights are arrays of many megabytes, and glibc keeps freed ones of up to 32 MB as heap.
    """
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return
    trim(0)
