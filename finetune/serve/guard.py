"""Middleware: checks the token, limits size and time of a body, answers HEAD and errors, sets security headers."""

import asyncio
import hmac
import json
import logging

from starlette.exceptions import HTTPException

from finetune.base.errors import one_line

SECONDS_FOR_A_BODY = 5  # less than a stop waits (ANSWER in serve/server.py), so that a slow request is still answered
PROTECTED = ("/predict", "/explain")  # the routes that read texts; health and metrics serve probes, which have no token
OWN_ONLY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Swagger UI needs an inline script, inline styles and data: images.
DOCS = OWN_ONLY.replace("'self';", "'self' 'unsafe-inline';", 2).replace("img-src 'self'", "img-src 'self' data:")
HEADERS = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
log = logging.getLogger("uvicorn.error")


def security_headers(path: str) -> list[tuple[bytes, bytes]]:
    """Headers that every answer has; the pages below /docs may do more."""
    policy = DOCS if path.startswith("/docs") else OWN_ONLY
    return [*HEADERS, (b"content-security-policy", policy.encode())]


class Guard:
    """ASGI middleware. With `token` None no token is required; a body has at most `max_body` bytes."""

    def __init__(self, app, token: str | None, max_body: int):
        self.app, self.max_body = app, max_body
        self.token = None if token is None else token.encode()

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers, started = security_headers(scope["path"]), False

        async def send_with_headers(message):
            nonlocal started
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *headers]
                started = True
            await send(message)

        if scope["path"] in PROTECTED and scope["method"] == "POST" and not self.has_token(scope):
            await refuse(send_with_headers)
            return
        if scope["method"] == "HEAD":
            scope = scope | {"method": "GET"}  # uvicorn, which has its own scope, leaves the body out
        try:
            await self.app(scope, limited(receive, scope["headers"], self.max_body), send_with_headers)
        except Exception as error:
            log.error("%s failed: %s: %s", scope["path"], type(error).__name__, one_line(error)[:500])
            if started:
                raise
            await answer(send_with_headers, 500, "the server failed to answer; its log gives the reason")

    def has_token(self, scope) -> bool:
        """Whether the request sends the right token, compared in constant time."""
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scheme, _, credentials = given.partition(b" ")
        if self.token is None:
            return True
        return scheme.lower() == b"bearer" and hmac.compare_digest(credentials.lstrip(b" "), self.token)


async def refuse(send):
    """Answers a request without the token; its body is not read."""
    detail = "this server requires a token: send it as Authorization: Bearer TOKEN"
    await answer(send, 401, detail, (b"www-authenticate", b"Bearer"))


async def answer(send, status: int, detail: str, *headers: tuple[bytes, bytes]):
    """Answers with one line of JSON."""
    body = json.dumps({"detail": detail}).encode()
    about = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*about, *headers]})
    await send({"type": "http.response.body", "body": body})


def limited(receive, headers: list[tuple[bytes, bytes]], max_body: int):
    """A `receive` that raises HTTPException: 413 if the body is too large, 408 if it arrives too slowly."""
    deadline = asyncio.get_running_loop().time() + SECONDS_FOR_A_BODY
    declared = next(
        (int(value) for name, value in headers if name == b"content-length"), 0
    )  # h11 refuses any but digits
    too_large = HTTPException(413, f"the body is larger than {max_body} bytes; send fewer texts at once")
    size, complete = 0, False

    async def receive_within_limits():
        nonlocal size, complete
        if complete:  # later messages only report that the client disconnected
            return await receive()
        if declared > max_body:  # before a client that waits for "100 Continue" sends it
            raise too_large
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, f"the body did not arrive within {SECONDS_FOR_A_BODY} seconds") from None
        size += len(message.get("body", b""))
        if size > max_body:
            raise too_large
        complete = not message.get("more_body", False)
        return message

    return receive_within_limits
