"""S3 on loopback: moto's server, and a proxy in front of it that breaks the upload of one file halfway."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import boto3

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@dataclass
class Cut:
    """A proxy to S3 that breaks every upload of one file; `broken` counts them."""

    path: str
    url: str = ""
    broken: int = 0


@dataclass
class S3:
    """The server with its bucket `models`; `environment` holds all settings that a client needs."""

    url: str
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        self.environment = CREDENTIALS | {"AWS_ENDPOINT_URL": self.url}
        self.client = boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=CREDENTIALS["AWS_DEFAULT_REGION"],
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        )

    def write(self, bucket: str, key: str, content: bytes, **metadata: str):
        self.client.put_object(Bucket=bucket, Key=key, Body=content, Metadata=metadata)

    def read(self, bucket: str, key: str) -> bytes:
        return self.client.get_object(Bucket=bucket, Key=key)["Body"].read()

    @contextmanager
    def cut_in_the_middle(self, path: str = "") -> Iterator[Cut]:
        """Starts a proxy that breaks every upload to `path`, or to the first path that is uploaded to, halfway.

        Clients try often, so one file is enough.
        """
        cut, behind = Cut(path), urlsplit(self.url)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"  # otherwise a client that sends `Expect: 100-continue` waits forever

            def do_PUT(self):
                cut.path = cut.path or self.path
                size = int(self.headers["Content-Length"])
                if self.path == cut.path:
                    cut.broken += 1
                    self.rfile.read(size // 2)
                    self.close_connection = True
                else:
                    self.passed_on(self.rfile.read(size))

            def do_GET(self):
                self.passed_on(None)

            def passed_on(self, body: bytes | None):
                connection = HTTPConnection(behind.hostname, behind.port)
                connection.request(self.command, self.path, body, dict(self.headers))
                response = connection.getresponse()
                self.send_response(response.status)
                for name, value in response.getheaders():
                    if name.lower() in ("content-length", "content-type") or name.lower().startswith("x-amz-"):
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(response.read())
                connection.close()

            def do_HEAD(self):
                self.do_GET()

            def log_message(self, *args):
                """Logs nothing."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            cut.url = f"http://127.0.0.1:{server.server_port}"
            try:
                yield cut
            finally:
                server.shutdown()
                thread.join()


def bucket_keys(s3: S3, bucket: str) -> list[str]:
    """Names of all objects in a bucket."""
    return [entry["Key"] for entry in s3.client.list_objects_v2(Bucket=bucket).get("Contents", [])]


@contextmanager
def s3_endpoint() -> Iterator[S3]:
    """moto's server during the block."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        s3 = S3(f"http://{host}:{port}")
        s3.client.create_bucket(Bucket="models")
        yield s3
    finally:
        server.stop()
