"""From a uri to a file: real pip and real HTTP, against servers on this machine."""

import hashlib
import io
import os
import re
import resource
import ssl
import subprocess
import sys
import tarfile
import zipfile
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from finetune.base.errors import UserError
from finetune.sources.fetch import check_sha256, local_path
from tests.support.loopback import closed_port, index_pages, running, served, wheel

CSV = b"text,label\ngreat,good\n"
FILES = {
    "reviews_pkg/data/reviews.csv": CSV,
    "reviews_pkg/model/config.json": b"{}",
    "reviews_pkg/model/1_Pooling/config.json": b'{"a": 1}',
}


@pytest.fixture
def pip_settings(monkeypatch):
    """Limits what pip sees to one index: no settings of this machine, no cache, one retry."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    settings = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1", "PIP_RETRIES": "1", "NO_PROXY": "127.0.0.1"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return lambda address: monkeypatch.setenv("PIP_INDEX_URL", f"{address}/simple/")


@pytest.fixture
def index(tmp_path, pip_settings):
    """A package index with the versions 1.0 and 1.1 of reviews-pkg."""
    wheels = [wheel(tmp_path, "reviews_pkg", version, FILES) for version in ("1.0", "1.1")]
    with served(index_pages("reviews-pkg", wheels)) as address:
        pip_settings(address)
        yield address


@pytest.fixture
def folder(tmp_path) -> Path:
    """An empty folder to fetch into."""
    (tmp_path / "fetched").mkdir()
    return tmp_path / "fetched"


def refusal(uri: str, folder: Path) -> str:
    """Message of one line with which fetching fails."""
    with pytest.raises(UserError) as caught:
        local_path(uri, folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.usefixtures("index")
def test_a_package_url_names_a_file_or_a_folder_inside_a_wheel(folder):
    assert local_path("pkg:pypi/reviews_pkg@1.0#reviews_pkg/data/reviews.csv", folder).read_bytes() == CSV
    model = local_path("pkg:pypi/Reviews-Pkg@1.0#reviews_pkg/model/", folder)
    files = {str(file.relative_to(model)): file.read_bytes() for file in model.rglob("*") if file.is_file()}
    assert files == {"config.json": b"{}", "1_Pooling/config.json": b'{"a": 1}'}


@pytest.mark.usefixtures("index")
@pytest.mark.parametrize(
    ("uri", "message"),
    [
        (
            "pkg:pypi/reviews-pkg@1.0#reviews_pkg/data/review.csv",
            "there is no reviews_pkg/data/review.csv in reviews_pkg-1.0-py3-none-any.whl; did you mean reviews_pkg/data/reviews.csv",
        ),
        ("pkg:pypi/reviews-pkg@2.0#x.csv", "package reviews-pkg has no wheel of version 2.0; it has 1.0, 1.1"),
        (
            "pkg:pypi/revues-pkg@1.0#x.csv",
            "the package index has no wheel of revues-pkg 1.0; check the name in params.yaml",
        ),
    ],
)
def test_a_missing_package_version_or_file_is_reported_with_those_that_exist(folder, uri, message):
    assert message in refusal(uri, folder)


def test_an_index_that_cannot_be_reached_is_reported(folder, pip_settings):
    pip_settings(closed_port())
    message = refusal("pkg:pypi/reviews-pkg@1.0#x.csv", folder)
    assert message.startswith("the package index cannot be reached to download reviews-pkg 1.0; check the network")


def test_a_release_without_a_wheel_is_refused_and_its_setup_code_does_not_run(tmp_path, folder, pip_settings):
    source = tmp_path / "reviews-pkg-1.0.tar.gz"
    with tarfile.open(source, "w:gz") as archive:
        for name, text in {
            "setup.py": f"open({str(tmp_path / 'ran')!r}, 'w')",
            "PKG-INFO": "Name: reviews-pkg\n",
        }.items():
            member = tarfile.TarInfo(f"reviews-pkg-1.0/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    with served(index_pages("reviews-pkg", [source])) as address:
        pip_settings(address)
        message = refusal("pkg:pypi/reviews-pkg@1.0#reviews.csv", folder)
    assert message == "the package index has no wheel of reviews-pkg 1.0; check the name in params.yaml"
    assert not (tmp_path / "ran").exists()


def test_a_damaged_wheel_or_an_interrupted_download_is_reported(tmp_path, folder, pip_settings):
    """The second index page arrives whole, because it is on another server than the wheel."""
    path = wheel(tmp_path, "reviews_pkg", "1.0", FILES)
    path.write_bytes(path.read_bytes()[:-40])
    with served(index_pages("reviews-pkg", [path])) as address:
        pip_settings(address)
        damaged = refusal("pkg:pypi/reviews-pkg@1.0#reviews_pkg/data/reviews.csv", folder)
    with served({f"/{path.name}": path.read_bytes()}, cut=300) as files:
        page = f'<!DOCTYPE html><a href="{files}/{path.name}">{path.name}</a>'.encode()
        with served({"/simple/reviews-pkg/": page}) as address:
            pip_settings(address)
            cut = refusal("pkg:pypi/reviews-pkg@1.0#reviews_pkg/data/reviews.csv", folder)
    assert damaged == cut == "the wheel of reviews-pkg 1.0 is damaged or cut short; run `dvc repro` again"


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("pkg:pypi/reviews-pkg#x.csv", "must have the form pkg:pypi/NAME@VERSION#PATH, with a version and a path"),
        ("pkg:pypi/reviews-pkg@1.0", "must have the form pkg:pypi/NAME@VERSION#PATH"),
        ("pkg:npm/reviews-pkg@1.0#x.csv", "must have the form pkg:pypi/NAME@VERSION#PATH"),
        ("pkg:reviews-pkg", "is not a package URL"),
        ("nosuch://bucket/x.csv", "nosuch://bucket/x.csv cannot be opened: Protocol not known: nosuch"),
        ("abfs://bucket/x.csv", "abfs://bucket/x.csv cannot be opened: Install adlfs to access Azure Datalake Gen2"),
        ("data/local/x.csv", "data/local/x.csv does not exist; put the file there or correct the uri in params.yaml"),
    ],
)
def test_a_uri_that_cannot_be_resolved_is_refused(folder, uri, message):
    assert message in refusal(uri, folder)


def test_a_web_address_names_a_file(folder):
    """The query belongs to the request, not to the file name, whose ending names the format."""
    with served({"/a/reviews.csv": CSV}) as address:
        for uri in (f"{address}/a/reviews.csv", f"{address}/a/reviews.csv?download=true"):
            path = local_path(uri, folder)
            assert (path.name, path.read_bytes()) == ("reviews.csv", CSV)
        assert (
            refusal(f"{address}/nope.csv", folder)
            == f"{address}/nope.csv does not exist; correct the uri in params.yaml"
        )


def test_a_web_address_may_name_a_file_inside_an_archive(tmp_path, folder):
    path = wheel(tmp_path, "reviews_pkg", "1.0", FILES)
    with served({"/reviews.zip": path.read_bytes()}) as address:
        assert local_path(f"{address}/reviews.zip#reviews_pkg/data/reviews.csv", folder).read_bytes() == CSV


@pytest.mark.parametrize("protocol", ["http", "ftp"])
def test_a_server_that_does_not_answer_is_reported(folder, protocol):
    uri = closed_port().replace("http", protocol) + "/reviews.csv"
    message = refusal(uri, folder)
    assert message.startswith(f"{uri} cannot be read (")
    assert message.endswith("; check the network and run `dvc repro` again")


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\ntext,label\n"])
@pytest.mark.parametrize("chain", ["", "simplecache::"])
def test_a_server_that_stalls_is_not_waited_for(folder, monkeypatch, before, chain):
    """Silent from the start, or in the middle of the file."""
    monkeypatch.setattr("finetune.sources.fetch.SILENCE", 0.5)

    class Stalling(BaseRequestHandler):
        def handle(self):
            self.request.recv(10_000)
            self.request.sendall(before)
            while self.request.recv(10_000):  # until the client hangs up
                pass

    with ThreadingTCPServer(("127.0.0.1", 0), Stalling) as server, running(server):
        message = refusal(f"{chain}http://127.0.0.1:{server.server_address[1]}/reviews.csv", folder)
    assert message.endswith(
        "cannot be read: the server did not go on in time; check the network and run `dvc repro` again"
    )


def test_an_interrupted_download_is_reported(folder):
    with served({"/reviews.csv": CSV * 1000}, cut=500) as address:
        message = refusal(f"{address}/reviews.csv", folder)
    assert message.startswith(f"{address}/reviews.csv cannot be read (")
    assert message.endswith("; check the network and run `dvc repro` again")


def test_a_full_disk_is_not_reported_as_a_bad_connection(folder):
    """A limit of 1,000 bytes per file simulates the full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with served({"/reviews.csv": CSV * 1000}) as address:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        try:
            with pytest.raises(OSError, match="File too large"):
                local_path(f"{address}/reviews.csv", folder)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_local_path_is_used_in_place(workdir, folder):
    (workdir / "C#.csv").write_bytes(CSV)
    assert local_path("C#.csv", folder) == Path("C#.csv")
    assert local_path(".", folder) == Path(".")


def test_a_member_of_a_local_archive_is_extracted(workdir, folder):  # noqa: ARG001, the current folder
    with zipfile.ZipFile("x.zip", "w") as archive:
        archive.writestr("inner.csv", CSV)
        archive.writestr("model/../../../out.txt", "elsewhere")
    assert local_path("x.zip#inner.csv", folder).read_bytes() == CSV


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["model/../../../out.txt"], "holds 'model/../../../out.txt', which leads outside its folder"),
        (["model/a", "model/../model/a"], "holds 'model/../model/a', which leads outside its folder"),
        (["model/a\\..\\b"], "which leads outside its folder or is no plain path"),
        (["model/a", "model/a"], "holds 'model/a' twice"),
        (["model/a", "model/a/b"], "holds 'model/a' twice"),
        ([f"model/{'a' * 300}"], "cannot be unpacked ("),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_in_an_archive_that_lead_elsewhere_or_meet_are_refused(workdir, folder, names, message, compression):
    with zipfile.ZipFile("x.zip", "w", compression) as archive:
        for number, name in enumerate(names):
            archive.writestr(name, str(number))
    assert message in refusal("x.zip#model", folder)
    assert [path.name for path in workdir.rglob("*") if path.is_file()] == ["x.zip"]


def test_a_link_in_an_archive_becomes_a_plain_file(workdir, folder):  # noqa: ARG001, the current folder
    link = zipfile.ZipInfo("model/link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile("x.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    unpacked = local_path("x.zip#model", folder) / "link"
    assert not unpacked.is_symlink()
    assert unpacked.read_text() == "/etc/passwd"


def test_a_zip_bomb_is_refused_before_it_is_unpacked(workdir, folder):  # noqa: ARG001, the current folder
    """1.2 GB of zeros in 1.2 MB, a ratio of about 1,000."""
    with zipfile.ZipFile("x.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        with archive.open("zeros.csv", "w") as member:
            for _ in range(1200):
                member.write(bytes(1_000_000))
    message = refusal("x.zip#zeros.csv", folder)
    assert re.fullmatch(
        r"x.zip would grow from 1\.\d MB to 1200 MB, as zip bombs do; if the file is right, .*", message
    )
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("x.zip#iner.csv", "x.zip#iner.csv: there is no iner.csv in x.zip; did you mean inner.csv"),
        ("x.zip#../up.csv", "x.zip#../up.csv: ../up.csv must be a relative path inside x.zip, without .."),
        ("x.zip#/up.csv", "x.zip#/up.csv: /up.csv must be a relative path inside x.zip, without .."),
        ("x.csv#inner.csv", "x.csv is not a zip file; remove #inner.csv from the uri"),
        (".#inner.csv", ". is a folder, not a zip file; write ./inner.csv instead of .#inner.csv"),
        ("bad.zip#inner.csv", "bad.zip is damaged (File is not a zip file); get it again"),
        ("flipped.zip#inner.csv", "flipped.zip is damaged ("),
    ],
)
def test_a_member_that_cannot_be_extracted_is_refused(workdir, folder, uri, message):
    with zipfile.ZipFile("x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("inner.csv", "../up.csv", "/up.csv"):
            archive.writestr(name, CSV * 100)
    content = bytearray((workdir / "x.zip").read_bytes())
    # The first member's compressed bytes begin after a header of 30 bytes and its name.
    content[39:49] = b"\xff" * 10
    (workdir / "flipped.zip").write_bytes(content)
    (workdir / "bad.zip").write_bytes(b"PK")
    (workdir / "x.csv").write_bytes(CSV)
    assert refusal(uri, folder).startswith(message)


def test_a_checksum_is_computed_and_compared(tmp_path):
    (tmp_path / "x.csv").write_bytes(CSV)
    right = hashlib.sha256(CSV).hexdigest()
    assert check_sha256(tmp_path / "x.csv", None, "data.sha256") == right
    assert check_sha256(tmp_path / "x.csv", right, "data.sha256") == right
    with pytest.raises(
        UserError, match=f"x.csv has the SHA-256 {right}, but data.sha256 is {'0' * 64}; get the expected file"
    ):
        check_sha256(tmp_path / "x.csv", "0" * 64, "data.sha256")


def test_a_pipe_a_device_or_a_broken_link_is_not_waited_for(tmp_path, folder):
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "link.csv").symlink_to(tmp_path / "none.csv")
    fix = "expected a file or a folder; write its content to a file and name that"
    for name, kind in (("pipe.csv", "a pipe"), ("link.csv", "a broken link")):
        assert refusal(str(tmp_path / name), folder) == f"{tmp_path / name} is {kind}, {fix}"
        assert refusal(f"file://{tmp_path / name}", folder) == f"{tmp_path / name} is {kind}, {fix}"
        assert refusal(f"{tmp_path / name}#inside.csv", folder) == f"{tmp_path / name} is {kind}, {fix}"
    assert refusal("/dev/zero", folder) == f"/dev/zero is a device, {fix}"


def test_a_file_address_names_a_file_on_this_disk(tmp_path, folder):
    (tmp_path / "reviews.csv").write_bytes(CSV)
    assert local_path(f"file://{tmp_path / 'reviews.csv'}", folder) == tmp_path / "reviews.csv"


@pytest.mark.parametrize(
    "uri",
    [
        "pkg:pypi/evil%20%40%20http:%2F%2F127.0.0.1:8899%2Fevil-1.tar.gz%23@1#x",
        "pkg:pypi/--requirement=%2Ftmp%2Fx@1.0#x",
        "pkg:pypi/-e@1.0#x",
        "pkg:pypi/.%2Fevil@1.0#x",
        "pkg:pypi/..%2F..%2Fevil@1.0#x",
        "pkg:pypi/evil%0Aother@1.0#x",
        "pkg:pypi/evil%5Bextra%5D@1.0#x",
        "pkg:pypi/owner/evil@1.0#x",
        "pkg:pypi/evil@1.0%20--no-binary%20:all:#x",
        "pkg:pypi/evil@http:%2F%2F127.0.0.1:8899%2Fevil.tar.gz#x",
        "pkg:pypi/evil@*#x",
        "pkg:pypi/evil@1.0?repository_url=http:%2F%2F127.0.0.1:8899#x",
    ],
)
def test_a_package_name_or_version_is_never_an_argument_of_pip(uri, folder, monkeypatch):
    """Pip would install from the address, the path or the option, and run what it finds there."""
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("pip was started"))
    assert re.search(
        "must name a package and its version|must have the form pkg:pypi|is not a package URL", refusal(uri, folder)
    )


def test_settings_of_pip_cannot_bring_source_archives_back(index, folder, monkeypatch, tmp_path):  # noqa: ARG001, serves the wheel
    (tmp_path / "pip.conf").write_text("[global]\nno-binary = :all:\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_NO_BINARY", ":all:")
    assert local_path("pkg:pypi/reviews-pkg@1.0#reviews_pkg/data/reviews.csv", folder).read_bytes() == CSV


def test_a_wheel_of_another_name_is_refused(tmp_path, folder, pip_settings):
    """An index that serves another package's wheel under the name that was asked for."""
    other = wheel(tmp_path, "other_pkg", "1.0", FILES)
    with served(index_pages("reviews-pkg", [other])) as address:
        pip_settings(address)
        message = refusal("pkg:pypi/reviews-pkg@1.0#reviews_pkg/data/reviews.csv", folder)
    assert "reviews-pkg" in message


def certificate(path: Path):
    """Writes a certificate for 127.0.0.1, signed by itself, and its key into one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + signed.public_bytes(pem))


@contextmanager
def encrypted(path: Path, locations: dict[str, str]):
    """An https server on loopback that redirects these paths and answers any other with CSV; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            location = locations.get(self.path)
            self.send_response(302 if location else 200)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Length", "0" if location else str(len(CSV)))
            self.end_headers()
            if not location and self.command == "GET":
                self.wfile.write(CSV)

        do_HEAD = do_GET  # noqa: N815, the name that http.server calls

        def log_message(self, *_):
            """Logs nothing."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        with running(server):
            yield f"https://127.0.0.1:{server.server_address[1]}"


def test_a_redirect_from_https_is_followed_only_to_https(tmp_path, folder):
    """In a process of its own, because the certificate that a client trusts is read at import."""
    certificate(tmp_path / "pem")
    script = (
        "import sys; from pathlib import Path; from finetune.base.command import run\n"
        "from finetune.sources.fetch import local_path\n"
        "raise SystemExit(run(lambda: print(local_path(sys.argv[1], Path(sys.argv[2])).read_text())))"
    )
    with served({"/x.csv": CSV}) as plain:
        locations = {"/plain.csv": f"{plain}/x.csv", "/file.csv": "file:///etc/passwd", "/near.csv": "/x.csv"}
        with encrypted(tmp_path / "pem", locations) as address:
            uris = {name: address + name for name in locations} | {"chain": f"simplecache::{address}/plain.csv"}
            done = {
                name: subprocess.run(
                    [sys.executable, "-c", script, uri, str(folder)],
                    env=os.environ | {"SSL_CERT_FILE": str(tmp_path / "pem"), "NO_PROXY": "127.0.0.1"},
                    capture_output=True,
                    text=True,
                    check=False,
                )
                for name, uri in uris.items()
            }
    assert (done["/near.csv"].returncode, done["/near.csv"].stdout) == (0, CSV.decode() + "\n")
    for name, target in (("/plain.csv", "/plain.csv"), ("/file.csv", "/file.csv"), ("chain", "/plain.csv")):
        assert (done[name].returncode, done[name].stdout) == (1, "")
        assert f"the server redirects to {locations[target]!r}, which is not encrypted" in done[name].stderr
        assert "Traceback" not in done[name].stderr
    assert [path.name for path in folder.iterdir()] == ["near.csv"]
