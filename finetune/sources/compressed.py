"""Compressed files (gz, bz2, xz, zip) opened as if they were plain, and their damage reported in one line."""

import bz2
import codecs
import contextlib
import gzip
import lzma
import zipfile
import zlib
from pathlib import Path

from finetune.base.errors import UserError, one_line
from finetune.sources.text_encoding import START, conversion, wide_encoding

OPENERS = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
CHUNK = 1_000_000  # bytes
COMPRESSIONS = (*OPENERS, ".zip")


def opened(path: Path, mode: str, **text):
    """The decompressed content as an open file, for `with`; `mode` and `text` as in `open`.

    Raises UserError for text in UTF-16: without a byte order mark it can be decoded as UTF-8, with a NUL after each letter.
    """
    if "t" in mode:
        refuse_wide_text(path)
    ending = path.suffix.lower()
    if ending == ".zip":
        return zipfile.Path(path, zip_member(path)).open(mode, **text)
    return OPENERS.get(ending, open)(path, mode, **text)


def zip_member(path: Path) -> str:
    """Name of the only file in a zip archive; raises UserError if there is none, or several, or one that cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
            if len(names) == 1:
                archive.open(names[0]).close()
    except zipfile.BadZipFile as error:
        raise UserError(f"{path} is damaged or cut short ({one_line(error)}); get it again") from None
    except RuntimeError as error:
        # It needs a password, or uses a compression that Python does not support.
        raise UserError(f"{path} cannot be unpacked ({one_line(error)}); unpack it yourself") from None
    if len(names) > 1:
        raise UserError(
            f"{path} holds {len(names)} files ({', '.join(names[:5])}); name one by adding #{names[0]} to the uri"
        )
    if not names:
        raise UserError(f"{path} holds no file; expected one table")
    return names[0]


@contextlib.contextmanager
def readable(path: Path):
    """Turns a library's errors about damage, or about bytes that are not UTF-8, inside the block into a UserError."""
    try:
        try:
            yield
        except UnicodeDecodeError:
            # This second reading may reach a damaged part of the file; the outer handlers cover it.
            refuse_wide_text(path, decodable=False)
            raise UserError(f"{path} is not UTF-8 (line {first_undecodable_line(path)}); save it as UTF-8") from None
    except (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is damaged or cut short ({one_line(error)}); get it again") from None
    except OSError as error:
        # gzip and bz2 raise an OSError without an errno for bytes in another format.
        if error.errno is None:
            raise UserError(f"{path} is damaged ({one_line(error)}); get it again") from None
        raise


def refuse_wide_text(path: Path, decodable: bool = True):
    """Raises UserError if a file is UTF-16 or UTF-32, as Excel saves "Unicode text" and PowerShell what is redirected."""
    with opened(path, "rb") as file:
        found = wide_encoding(file.read(START), decodable)
    if found:
        raise UserError(f"{path} {found}; {conversion(found)}")


def first_undecodable_line(path: Path) -> int:
    """Number of the first line that is not UTF-8, from 1."""
    decoder, number = codecs.getincrementaldecoder("utf-8")(), 1
    with opened(path, "rb") as file:
        # Not line by line: a line may be as long as the file.
        while chunk := file.read(CHUNK):
            try:
                number += decoder.decode(chunk).count("\n")
            except UnicodeDecodeError as error:
                return number + error.object.count(b"\n", 0, error.start)
    return number  # the end of the file cuts a character
