"""A Hub on loopback: the part of the Hugging Face Hub's HTTP interface that its clients use to download.

It answers what huggingface_hub 2.4 and datasets 5.2 ask for, with the headers and the error codes that they go by.
"""

import hashlib
import json
import re
import socket
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from urllib.parse import parse_qs, unquote, urlsplit

API = re.compile(
    r"^/api/(?P<kind>models|datasets)/(?P<repo>[^/]+/[^/]+)(/(?P<what>revision|tree)/(?P<revision>[^/]+)(/(?P<path>.+))?)?$"
)
FILE = re.compile(r"^/((?P<kind>datasets)/)?(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)$")
Files = dict[str, bytes]  # path -> content


@dataclass
class Repository:
    """A model or data set with its commits; files of a gated one need a token."""

    commits: dict[str, Files] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)  # branch or tag -> commit
    token: str | None = None


class Hub:
    """The server; use it with `with`. `url` is where it listens, `requests` what it was asked for."""

    def __init__(self):
        self.repositories: dict[str, Repository] = {}
        self.requests: list[str] = []  # "GET /tiny/bert/resolve/COMMIT/config.json", with " from 10" after a Range
        self.breaks: dict[str, float] = {}  # end of a path -> how many more downloads break in the middle of the file
        self.statuses: dict[str, int] = {}  # end of a path -> status that it is answered with
        self.silent: set[str] = set()  # ends of paths that are never answered
        self.closing = Event()

    def __enter__(self) -> "Hub":
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.hub = self
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.closing.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def push(self, repo: str, files: Files, *refs: str, token: str | None = None) -> str:
        """Commit with these files, which `main` and the named branches and tags now point to.

        A data set's name starts with `datasets/`, as in its address.
        """
        repository = self.repositories.setdefault(repo, Repository(token=token))
        tree = sorted((name, oid(content)) for name, content in files.items())
        commit = hashlib.sha1(repr((repo, tree)).encode()).hexdigest()
        repository.commits[commit] = files
        repository.refs |= dict.fromkeys(("main", *refs), commit)
        return commit

    def downloads(self, repo: str) -> set[str]:
        """Paths of the files that were asked for with GET."""
        start = f"GET /{repo}/resolve/"
        return {
            line.removeprefix(start).split(" ")[0].partition("/")[2] for line in self.requests if line.startswith(start)
        }


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # clients keep their connections open
    hub: Hub

    def handle_error(self, request, client_address):
        """Silence: a client that hangs up is no news, and what fails here fails the test."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_):
        """Nothing on stderr; `Hub.requests` has it all."""

    def do_GET(self):
        self.respond()

    do_HEAD = do_GET  # noqa: N815, the name that http.server calls

    def respond(self):
        hub, url = self.server.hub, urlsplit(self.path)
        path = unquote(url.path)
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        hub.requests.append(f"{self.command} {path}" + (f" from {start[1]}" if start else ""))
        for end, status in hub.statuses.items():
            if path.endswith(end):
                return self.answer(status, b"not now")
        if path.endswith(tuple(hub.silent)):
            hub.closing.wait()
            self.close_connection = True
            return None
        # The revision is one quoted part of the path, so the parts are found before they are unquoted.
        match = API.match(url.path) or FILE.match(url.path)
        if not match:
            return self.answer(404, b"no such address")
        parts = {name: unquote(value) for name, value in match.groupdict().items() if value}
        repo = ("datasets/" if parts.get("kind") == "datasets" else "") + parts["repo"]
        if repo not in hub.repositories:
            # As the Hub does it: whoever shows no token is not told whether a name is private or free.
            return self.refuse(
                404 if self.headers.get("Authorization") else 401, "RepoNotFound", "Repository not found"
            )
        repository = hub.repositories[repo]
        revision = parts.get("revision", "main")
        commit = repository.refs.get(revision, revision)
        if commit not in repository.commits:
            return self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        files = repository.commits[commit]
        if match.re is FILE:
            return self.file(repository, commit, parts["path"], int(start[1]) if start else 0)
        if parts.get("what") == "tree":
            recursive = parse_qs(url.query).get("recursive", ["false"])[0].lower() == "true"
            entries = self.tree(files, parts.get("path", ""), recursive)
            return self.json(entries) if entries else self.refuse(404, "EntryNotFound", "no such folder")
        siblings = [{"rfilename": name} for name in files]
        return self.json({"id": parts["repo"], "sha": commit, "private": False, "tags": [], "siblings": siblings})

    def tree(self, files: Files, folder: str, recursive: bool) -> list[dict]:
        """Entries below a folder, as the Hub lists them."""
        prefix = f"{folder}/" if folder else ""
        entries = {}
        for name, content in files.items():
            if not name.startswith(prefix):
                continue
            *folders, _ = name.removeprefix(prefix).split("/")
            for depth in range(1, len(folders) + 1):
                path = prefix + "/".join(folders[:depth])
                if recursive or depth == 1:
                    entries[path] = {"type": "directory", "path": path, "oid": oid(path.encode()), "size": 0}
            if recursive or not folders:
                entries[name] = {"type": "file", "path": name, "oid": oid(content), "size": len(content)}
        return list(entries.values())

    def file(self, repository: Repository, commit: str, path: str, start: int):
        """One file, from a byte on."""
        head = {"X-Repo-Commit": commit}
        if repository.token and self.headers.get("Authorization") != f"Bearer {repository.token}":
            status = 403 if self.headers.get("Authorization") else 401
            return self.refuse(status, "GatedRepo", "Access to this repository is restricted", head)
        content = repository.commits[commit].get(path)
        if content is None:
            return self.refuse(404, "EntryNotFound", "Entry not found", head)
        head |= {"ETag": f'"{oid(content)}"', "Accept-Ranges": "bytes"}
        if start:
            head["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return self.answer(206 if start else 200, content[start:], head)

    def json(self, value):
        self.answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def refuse(self, status: int, code: str, message: str, head: dict[str, str] | None = None):
        self.answer(status, b"", {"X-Error-Code": code, "X-Error-Message": message, **(head or {})})

    def answer(self, status: int, content: bytes, head: dict[str, str] | None = None):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(head or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.is_to_break():
            # The middle of the file, however much of it was asked for: who resumes there gets nothing more.
            start = int(re.sub(r"\D", "", self.headers.get("Range", "")) or 0)
            self.wfile.write(content[: max(0, (start + len(content)) // 2 - start)])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        else:
            self.wfile.write(content)

    def is_to_break(self) -> bool:
        """Whether this download is to break; counts it."""
        hub = self.server.hub
        for end, left in hub.breaks.items():
            if unquote(urlsplit(self.path).path).endswith(end) and left > 0:
                hub.breaks[end] -= 1
                return True
        return False


def oid(content: bytes) -> str:
    """Git's name for a file with this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
