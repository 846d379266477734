"""Text files that are not UTF-8: how to recognise UTF-16 and UTF-32, and how to convert them."""

import codecs

START = 4096  # bytes of a file that are looked at
LEAST_ENGLISH, LEAST_CHINESE = 0.25, 0.01  # share of NUL bytes: half of them, or one for a separator or line end
# UTF-32's little-endian mark begins with UTF-16's.
MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def wide_encoding(start: bytes, decodable: bool = True) -> str | None:
    """What the first bytes of a text say if it is not UTF-8 but UTF-16 or UTF-32: "is UTF-16"; None if nothing does.

    Without a byte order mark, NUL bytes give UTF-16 away. English has them in every second place, Chinese only in separators and
    line ends, but that is not `decodable` as UTF-8. A single NUL in a text is no sign: UTF-8 allows it.
    """
    for mark, name in MARKS.items():
        if start.startswith(mark):
            return f"is {name}"
    # A table's texts may hold anything; names of columns, in the first line, hold no NUL.
    looked_at = start.lstrip(b"\r\n\0").partition(b"\n")[0] if decodable else start
    least = len(looked_at) * (LEAST_ENGLISH if decodable else LEAST_CHINESE)
    if looked_at.count(0) <= max(1, least):
        return None
    order = "LE" if start.find(b"\0") % 2 else "BE"
    return f"has NUL bytes, so it is probably UTF-16{order}"


def conversion(encoding: str) -> str:
    """How to convert a text to UTF-8, from the words of `wide_encoding`."""
    return (
        'save it as UTF-8 (in Excel: "CSV UTF-8"; in an editor: "Save with encoding"), or convert it with '
        f"`iconv -f {encoding.split()[-1]} -t UTF-8`"
    )
