"""The server's settings: options of the command line, then the environment, then the defaults."""

import argparse
import math
import os
from pathlib import Path
from typing import NamedTuple

from finetune.base.command import Parser
from finetune.base.errors import UserError
from finetune.runtime.classifier import EXPORTED
from finetune.runtime.drift import WINDOW
from finetune.serve import explain

TOKEN = "SERVE_TOKEN"


class Settings(NamedTuple):
    """Settings of one server; `OPTIONS` describes each."""

    folder: Path = EXPORTED
    host: str = "127.0.0.1"
    port: int = 8000
    max_body: int = 1_048_576
    max_texts: int = 128
    max_characters: int = 10_000
    queue: int = 1024
    connections: int = 800  # fit the usual 1,024 open files
    window: int = WINDOW
    threads: int = os.cpu_count() or 1


OPTIONS = {
    "folder": "exported model to serve",
    "host": "address to listen on; 0.0.0.0 for all addresses of this machine",
    "port": "port to listen on; 0 picks a free one",
    "max_body": "maximum size of a request body in bytes",
    "max_texts": "maximum number of texts in a request",
    "max_characters": "maximum number of characters in a text",
    "queue": "maximum number of waiting texts; further requests get 503",
    "connections": "maximum number of open connections",
    "window": "number of recent texts compared with the reference profile",
    "threads": "number of batches classified at the same time",
}


def read_settings(usage: str) -> Settings:
    """Settings from the command line, then the environment, then the defaults; `--help` shows `usage` too."""
    summary, _, more = usage.partition("\n\n")
    parser = Parser(
        prog="python -m finetune.serve",
        description=summary,
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, description in OPTIONS.items():
        default = Settings._field_defaults[name]
        variable = f"SERVE_{name.upper()}"
        kind = type(default)
        if kind is int:
            kind = whole(0, 65535) if name == "port" else whole(1)
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=kind,
            default=os.environ.get(variable, default),
            metavar=name.rpartition("_")[2].upper(),
            help=f"{description} (default {default}, or {variable})",
        )
    settings = Settings(**vars(parser.parse_args()))
    if not settings.host.strip():  # which the system takes for every address
        raise UserError("--host is empty; name an address, such as 127.0.0.1, or 0.0.0.0 for all of this machine")
    if settings.queue < max(settings.max_texts, explain.MOST + 1):
        raise UserError(
            f"--queue {settings.queue} has no room for the largest request; it must be at least "
            f"{max(settings.max_texts, explain.MOST + 1)} (--max-texts {settings.max_texts}, or {explain.MOST} words to explain)"
        )
    return settings


def read_token() -> str | None:
    """The token that requests must send; None if none is required. Raises UserError for one that no request could send."""
    token = os.environ.get(TOKEN)
    if token is None:
        return None
    if not token.strip():
        raise UserError(f"{TOKEN} is empty; set a value or unset it")
    if token != token.strip():
        raise UserError(f"{TOKEN} begins or ends with whitespace, which HTTP headers drop; remove it")
    if not (token.isascii() and token.isprintable()):
        raise UserError(f"{TOKEN} must be printable ASCII, so that HTTP headers carry it unchanged; choose another")
    return token


def whole(least: int, most: float = math.inf):
    """Option type: a whole number within these limits."""

    def number(text: str) -> int:
        if not least <= (value := int(text)) <= most:
            allowed = f"at least {least}" if most == math.inf else f"{least} to {most}"
            raise argparse.ArgumentTypeError(f"must be {allowed}, found {value}")
        return value

    number.__name__ = "whole number"  # used in argparse's error message
    return number
