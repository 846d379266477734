"""The answers to requests that cannot be answered, each with one line of JSON that says why."""

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from finetune.serve import schemas
from finetune.serve.queue import Full

RETRY_AFTER = "1"  # seconds; a full queue is worked off in about that


async def not_expected(_: Request, error: RequestValidationError) -> JSONResponse:
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        place = f"{first['ctx']['error']} at character {first['loc'][-1]}"
        return JSONResponse({"detail": f"the body is not JSON: {place}"}, 400)
    return JSONResponse({"detail": schemas.problem_line(first)}, 422)


async def come_again(_: Request, error: Full) -> JSONResponse:
    detail = f"{error.room} texts wait at most, and there is no room for {error.rows} more now; come again"
    return JSONResponse({"detail": detail}, 503, {"Retry-After": RETRY_AFTER})


async def refused(_: Request, error: HTTPException) -> JSONResponse:
    detail = error.detail
    if error.status_code == 400:  # FastAPI's own, for whatever json raises besides a syntax error
        detail = "the body is not JSON that can be read: nested too deeply, a number too long, or not UTF-8"
    return JSONResponse({"detail": detail}, error.status_code, error.headers)


HANDLERS = {RequestValidationError: not_expected, Full: come_again, HTTPException: refused}
