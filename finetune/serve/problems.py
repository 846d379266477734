"""Error responses: a status, and one line of JSON that gives the reason."""

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from finetune.serve import schemas
from finetune.serve.queue import Full, Stopping

RETRY_AFTER = "1"  # seconds, about the time to empty a full queue


async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
    """400 for a body that is not JSON, 422 for JSON of another form."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        reason = f"{first['ctx']['error']} at character {first['loc'][-1]}"
        return JSONResponse({"detail": f"the body is not JSON: {reason}"}, 400)
    return JSONResponse({"detail": schemas.problem_line(first)}, 422)


async def queue_full(_: Request, error: Full) -> JSONResponse:
    """503, and when to try again."""
    detail = f"at most {error.room} texts can wait, and there is no room for {error.rows} more now; try again later"
    return JSONResponse({"detail": detail}, 503, {"Retry-After": RETRY_AFTER})


async def stopping(_: Request, __: Stopping) -> JSONResponse:
    """503 while the server stops; the next one may already run when the client tries again."""
    return JSONResponse({"detail": "the server stops; try again later"}, 503, {"Retry-After": RETRY_AFTER})


async def refused(_: Request, error: HTTPException) -> JSONResponse:
    """The status that a route, the guard or FastAPI chose."""
    detail = error.detail
    if error.status_code == 400:  # FastAPI's, for anything json raises other than a syntax error
        detail = "the body is not readable JSON: nested too deeply, a number too long, or not UTF-8"
    headers = dict(error.headers or {})
    if headers.get("Allow") == "GET":
        headers["Allow"] = "GET, HEAD"  # the guard answers HEAD as GET
    if error.status_code == 408:
        headers["Connection"] = "close"  # the rest of the body may still come
    return JSONResponse({"detail": detail}, error.status_code, headers)


HANDLERS = {RequestValidationError: invalid, Full: queue_full, Stopping: stopping, HTTPException: refused}
