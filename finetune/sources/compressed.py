"""Compressed files (gz, bz2, xz, zip) opened as if they were plain, and their damage reported in one line."""

import bz2
import contextlib
import gzip
import lzma
import zipfile
import zlib
from pathlib import Path

from finetune.base.errors import UserError, one_line

OPENERS = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
COMPRESSIONS = (*OPENERS, ".zip")


def opened(path: Path, mode: str, **text):
    """File object over the decompressed content, for `with`."""
    ending = path.suffix.lower()
    if ending == ".zip":
        return zipfile.Path(path, zip_member(path)).open(mode, **text)
    return OPENERS.get(ending, open)(path, mode, **text)


def zip_member(path: Path) -> str:
    """Name of the only file in a zip archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
            if len(names) == 1:
                archive.open(names[0]).close()
    except zipfile.BadZipFile as error:
        raise UserError(f"{path} is damaged or cut short ({one_line(error)}); get it again") from None
    except RuntimeError as error:
        # A password, or a way of compressing that Python does not know.
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
    """Block that reads a table: what a library says about damage or bytes that are not UTF-8 is told in one line."""
    try:
        try:
            yield
        except UnicodeDecodeError:
            # The outer handlers also serve this second reading, which may come to where the file is damaged.
            raise UserError(f"{path} is not UTF-8 (line {first_undecodable_line(path)}); save it as UTF-8") from None
    except (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is damaged or cut short ({one_line(error)}); get it again") from None
    except OSError as error:
        # gzip and bz2 raise a bare OSError, without a number, for bytes that are not theirs.
        if error.errno is None:
            raise UserError(f"{path} is damaged ({one_line(error)}); get it again") from None
        raise


def first_undecodable_line(path: Path) -> int:
    """Number of the first line that is not UTF-8, from 1."""
    with opened(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    raise AssertionError("every line can be decoded")
