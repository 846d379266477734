"""A Hub on loopback: the part of the Hugging Face Hub's HTTP API with which clients download and commit.

It answers the requests of huggingface_hub 2.4 and datasets 5.2, with the headers and error codes that they rely on.
Large files use Git's LFS protocol; the Hub's newer protocol, Xet, is not supported (HF_HUB_DISABLE_XET=1).
"""

import base64
import hashlib
import json
import re
import socket
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

API = re.compile(
    r"^/api/(?P<kind>models|datasets)/(?P<repo>[^/]+/[^/]+)(/(?P<what>revision|tree)/(?P<revision>[^/]+)(/(?P<path>.+))?)?$"
)
FILE = re.compile(r"^/((?P<kind>datasets)/)?(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)$")
WRITE = re.compile(r"^/api/models/(?P<repo>[^/]+/[^/]+)/(?P<what>preupload|commit|branch)/(?P<revision>[^/]+)$")
BATCH = re.compile(r"^/(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch$")
LARGE = 1000  # bytes above which a file uses LFS
Files = dict[str, bytes]  # path -> content


@dataclass
class Repository:
    """A model or data set with its commits; reading a gated one needs `token`."""

    commits: dict[str, Files] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)  # branch or tag -> commit
    token: str | None = None
    private: bool = False


class Hub:
    """The server, a context manager. `url` is its address; `requests` lists all requests."""

    def __init__(self):
        self.repositories: dict[str, Repository] = {}
        self.requests: list[str] = []  # "GET /tiny/bert/resolve/COMMIT/config.json", with " from 10" after a Range
        self.breaks: dict[str, float] = {}  # end of a path -> number of transfers still to break halfway
        self.statuses: dict[str, int] = {}  # end of a path -> status of the response
        self.bodies: dict[
            str, bytes
        ] = {}  # end of a path -> what is answered, with status 200, in place of the right answer
        self.silent: set[str] = set()  # ends of paths that never get a response
        self.licenses = {"apache-2.0", "mit", "cc-by-4.0", "other"}  # some licenses that the Hub knows
        self.writer = "hf_writer"  # the token that may write
        self.objects: dict[str, bytes] = {}  # large files by SHA-256, whether committed or not
        self.waiting = Event()  # set by a request for a silent path
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
        """Commits these files and points `main` and the named branches and tags to the commit.

        The name of a data set starts with `datasets/`, as in its URL.
        """
        repository = self.repositories.setdefault(repo, Repository(token=token))
        tree = sorted((name, oid(content)) for name, content in files.items())
        commit = hashlib.sha1(repr((repo, tree)).encode()).hexdigest()
        repository.commits[commit] = files
        repository.refs |= dict.fromkeys(("main", *refs), commit)
        return commit

    def files(self, repo: str, revision: str = "main") -> Files:
        """Current files of a repository."""
        repository = self.repositories[repo]
        return repository.commits[repository.refs[revision]]

    def downloads(self, repo: str) -> set[str]:
        """Paths of the files requested with GET."""
        start = f"GET /{repo}/resolve/"
        return {
            line.removeprefix(start).split(" ")[0].partition("/")[2] for line in self.requests if line.startswith(start)
        }


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # clients keep connections open
    hub: Hub

    def handle_error(self, request, client_address):
        """Logs nothing: clients may hang up, and any real failure also fails the test."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_):
        """Logs nothing; `Hub.requests` lists all requests."""

    def do_GET(self):
        self.respond()

    do_HEAD = do_GET  # noqa: N815, the name that http.server calls

    def do_POST(self):
        self.respond_to_write()

    do_PUT = do_POST  # noqa: N815, as above

    def refused(self, path: str) -> bool:
        """Whether the test wants this path to fail; the response is then already sent."""
        hub = self.server.hub
        for end, status in hub.statuses.items():
            if path.endswith(end):
                self.answer(status, b"not now")
                return True
        for end, body in hub.bodies.items():
            if path.endswith(end):
                self.answer(200, body, {"Content-Type": "application/json"})
                return True
        if path.endswith(tuple(hub.silent)):
            hub.waiting.set()
            hub.closing.wait()
            self.close_connection = True
            return True
        return False

    def respond(self):
        hub, url = self.server.hub, urlsplit(self.path)
        path = unquote(url.path)
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        hub.requests.append(f"{self.command} {path}" + (f" from {start[1]}" if start else ""))
        if self.refused(path):
            return None
        # A revision is one quoted part of the path, so match before unquoting.
        match = API.match(url.path) or FILE.match(url.path)
        if not match:
            return self.answer(404, b"no such address")
        parts = {name: unquote(value) for name, value in match.groupdict().items() if value}
        repo = ("datasets/" if parts.get("kind") == "datasets" else "") + parts["repo"]
        if repo not in hub.repositories:
            # Like the Hub, do not reveal to clients without a token whether a name is private or free.
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
        blobs = parse_qs(url.query).get("blobs", ["false"])[0].lower() == "true"
        siblings = [{"rfilename": name} | (blob(content) if blobs else {}) for name, content in files.items()]
        return self.json({"id": parts["repo"], "sha": commit, "private": False, "tags": [], "siblings": siblings})

    def respond_to_write(self):
        """Requests that change something, and the validation of cards."""
        hub, path = self.server.hub, urlsplit(self.path).path
        hub.requests.append(f"{self.command} {unquote(path)}")
        if self.command == "PUT" and self.is_to_break():
            # Break the connection in the middle of the file.
            self.rfile.read(int(self.headers["Content-Length"]) // 2)
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return None
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.refused(path):
            return None
        if path == "/api/validate-yaml":
            return self.validate(json.loads(body))
        if path.startswith("/large/"):  # a signed URL needs no token
            name = path.removeprefix("/large/")
            if hashlib.sha256(body).hexdigest() != name:  # truncated, because the client was killed
                return self.answer(400, b"")
            hub.objects[name] = body
            return self.answer(200, b"")
        shown = self.headers.get("Authorization")
        if shown != f"Bearer {hub.writer}":
            return self.refuse(
                403 if shown else 401, "", "You don't have the rights" if shown else "Invalid credentials"
            )
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if match := BATCH.match(path):
            return self.large_files(json.loads(body)["objects"])
        match = WRITE.match(path)
        if not match:
            return self.answer(404, b"no such address")
        return self.write(match, body)

    def create(self, asked: dict):
        """Creates a repository, as the Hub does with a first commit."""
        hub = self.server.hub
        repo = f"{asked['organization']}/{asked['name']}"
        created = {"url": f"{hub.url}/{repo}", "name": repo}
        if repo in hub.repositories:
            return self.answer(409, json.dumps(created).encode(), {"Content-Type": "application/json"})
        hub.push(repo, {".gitattributes": b"*.onnx filter=lfs\n"})
        hub.repositories[repo].private = asked.get("visibility") == "private"
        return self.json(created)

    def write(self, match: re.Match, body: bytes):
        """Creates a branch, announces an upload or makes a commit."""
        repository, revision = self.server.hub.repositories[match["repo"]], unquote(match["revision"])
        if match["what"] == "branch":
            if revision in repository.refs:
                return self.answer(409, b"")
            repository.refs[revision] = repository.refs["main"]
            return self.answer(200, b"")
        if match["what"] == "preupload":
            modes = [(file["path"], "lfs" if file["size"] > LARGE else "regular") for file in json.loads(body)["files"]]
            return self.json(
                {"files": [{"path": name, "uploadMode": mode, "shouldIgnore": False} for name, mode in modes]}
            )
        return self.commit(match["repo"], revision, [json.loads(line) for line in body.splitlines()])

    def validate(self, asked: dict):
        """Validates the metadata of a card; the response lists every mistake."""
        _, front, _ = asked["content"].split("---\n", 2)
        metadata = yaml.safe_load(front)
        mistakes = []
        if metadata.get("license", "other") not in self.server.hub.licenses:
            mistakes.append(f'"license" must be one of [{", ".join(sorted(self.server.hub.licenses))}]')
        for entry in metadata.get("model-index", []):
            for result in entry["results"]:
                if not {"type", "name"} <= set(result["dataset"]) or "type" not in result["task"]:
                    mistakes.append('"model-index[0].results[0].dataset.type" is required')
                if not all({"type", "value"} <= set(metric) for metric in result["metrics"]):
                    mistakes.append('"model-index[0].results[0].metrics[0].value" is required')
        if self.headers.get("Accept") == "text/plain":
            return self.answer(400 if mistakes else 200, "\n".join(mistakes).encode(), {"Content-Type": "text/plain"})
        answer = {"errors": [{"message": mistake} for mistake in mistakes], "warnings": []}
        return self.answer(400 if mistakes else 200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def large_files(self, asked: list[dict]):
        """Upload address of each large file; none for files already stored."""
        hub, objects = self.server.hub, []
        for entry in asked:
            item = {"oid": entry["oid"], "size": entry["size"]}
            if entry["oid"] not in hub.objects:
                item["actions"] = {"upload": {"href": f"{hub.url}/large/{entry['oid']}"}}
            objects.append(item)
        self.json({"transfer": "basic", "objects": objects})

    def commit(self, repo: str, branch: str, lines: list[dict]):
        """Makes a commit on a branch from its operations, all of them or none."""
        hub, repository = self.server.hub, self.server.hub.repositories[repo]
        header, *operations = lines
        parent = header["value"].get("parentCommit")
        if parent not in (None, repository.refs[branch]):
            return self.refuse(412, "", "A commit has happened since. Please refresh and try again.")
        files = dict(hub.files(repo, branch))
        for operation in operations:
            value = operation["value"]
            match operation["key"]:
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = hub.objects[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
        before = dict(repository.refs)
        commit = hub.push(repo, files)
        repository.refs = before | {branch: commit}
        return self.json({"success": True, "commitUrl": f"{hub.url}/{repo}/commit/{commit}", "commitOid": commit})

    def tree(self, files: Files, folder: str, recursive: bool) -> list[dict]:
        """Entries below a folder, in the Hub's format."""
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
        """Sends one file from byte `start`."""
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
            # Always at the middle of the whole file: a client that resumes there gets nothing more.
            start = int(re.sub(r"\D", "", self.headers.get("Range", "")) or 0)
            self.wfile.write(content[: max(0, (start + len(content)) // 2 - start)])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        else:
            self.wfile.write(content)

    def is_to_break(self) -> bool:
        """Whether this transfer is to break; counts it."""
        hub = self.server.hub
        for end, left in hub.breaks.items():
            if unquote(urlsplit(self.path).path).endswith(end) and left > 0:
                hub.breaks[end] -= 1
                return True
        return False


def blob(content: bytes) -> dict:
    """What the Hub knows about a file's content."""
    known = {"size": len(content), "blobId": oid(content)}
    if len(content) > LARGE:
        known["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return known


def oid(content: bytes) -> str:
    """Git's object id of a file with this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
