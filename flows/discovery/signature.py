"""The signature of a file: what is compared of its `stat`, and when that can be trusted. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfolio.schema.records import Signature

if TYPE_CHECKING:
    import os

SECOND = 1_000_000_000
FINE_GRAIN = SECOND // 50
"""Linux stamps files at the ticks of its timer, 1 to 10 ms apart."""
COARSE_GRAIN = 2 * SECOND


def signature_of(status: os.stat_result) -> Signature:
    """What is compared of a file's stat."""
    return storable(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def storable(device: int, inode: int, size: int, mtime_ns: int, ctime_ns: int) -> Signature:
    """Some filesystems use all 64 bits of an inode, and have times that nobody has seen yet; PostgreSQL's bigint has
    63 and a sign."""
    return Signature(_as_signed(device), _as_signed(inode), size, _bounded(mtime_ns), _bounded(ctime_ns))


def racy(signature: Signature, observed_at_ns: int) -> bool:
    """Whether the file could have been written again after `observed_at_ns` without its signature showing it: its
    times are as young as the clock's grain (git's "racy" entries). Times of whole seconds come from a filesystem
    that keeps no finer ones, FAT even in steps of two seconds."""
    youngest = max(signature.mtime_ns, signature.ctime_ns)
    coarse = signature.mtime_ns % SECOND == 0 and signature.ctime_ns % SECOND == 0
    return youngest > observed_at_ns - (COARSE_GRAIN if coarse else FINE_GRAIN)


def distrusted(signature: Signature) -> Signature:
    """Equal to none that a crawl finds: the file is read again at the next sync."""
    return signature._replace(ctime_ns=-1)


def _as_signed(number: int) -> int:
    return number if number < 1 << 63 else number - (1 << 64)


def _bounded(time_ns: int) -> int:
    return max(-(1 << 63), min(time_ns, (1 << 63) - 1))


def is_same(opened: Signature, listed: Signature) -> bool:
    """Whether it is the file that the crawl listed."""
    return (opened.device, opened.inode) == (listed.device, listed.inode)
