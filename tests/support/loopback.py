"""A web server and a package index on this machine, for real requests without a network."""

import socket
import threading
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@contextmanager
def served(pages: dict[str, bytes], cut: int = 0):
    """Address of a server that answers with the page of each path, or 404.

    With `cut`, it closes the connection that many bytes before the announced end.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            page = pages.get(self.path.partition("?")[0])
            self.send_response(404 if page is None else 200)
            self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/octet-stream")
            self.send_header("Content-Length", str(len(page or b"")))
            self.end_headers()
            return page or b""

        def do_GET(self):
            page = self.do_HEAD()
            self.wfile.write(page[: max(0, len(page) - cut)])

        def log_message(self, *args):
            """Logs nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server, running(server):
        yield f"http://127.0.0.1:{server.server_port}"


@contextmanager
def running(server: ThreadingHTTPServer):
    """Block in which a server answers, in a thread that ends with the block."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


def closed_port() -> str:
    """Address on which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def wheel(folder: Path, name: str, version: str, files: dict[str, bytes]) -> Path:
    """A valid wheel with these files, given by their paths inside it."""
    info = f"{name}-{version}.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for inside, content in (files | {f"{info}/RECORD": record.encode()}).items():
            archive.writestr(inside, content)
    return path


def index_pages(name: str, releases: list[Path]) -> dict[str, bytes]:
    """Pages of a simple index (PEP 503) with the releases of one package."""
    links = "".join(f'<a href="/files/{path.name}">{path.name}</a>\n' for path in releases)
    page = f"<!DOCTYPE html><html><body>{links}</body></html>".encode()
    return {f"/simple/{name}/": page} | {f"/files/{path.name}": path.read_bytes() for path in releases}
