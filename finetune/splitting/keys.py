"""Hashes of texts and groups, so that rows can be split without holding their texts."""

import hashlib


def text_key(text: str | None) -> int:
    """Hash of a text that ignores case and spacing; 0 where there is no text."""
    normal = " ".join((text or "").casefold().split())
    return number(normal) if normal else 0


def number(text: str) -> int:
    """64-bit hash: among ten million texts two collide with a chance of 3 in a million."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") or 1
