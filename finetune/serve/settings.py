"""The server's settings: options of the command line, then the environment, then the defaults."""

import argparse
import math
import os
from pathlib import Path
from typing import NamedTuple

from finetune.base.errors import UserError
from finetune.runtime.classifier import EXPORTED
from finetune.runtime.drift import WINDOW
from finetune.serve import explain

TOKEN = "SERVE_TOKEN"


class Settings(NamedTuple):
    """What a server is started with; `OPTIONS` tells each."""

    folder: Path = EXPORTED
    host: str = "127.0.0.1"
    port: int = 8000
    max_body: int = 1_048_576
    max_texts: int = 128
    max_characters: int = 10_000
    queue: int = 1024
    window: int = WINDOW
    threads: int = os.cpu_count() or 1


OPTIONS = {
    "folder": "exported model to serve",
    "host": "address to listen at; 0.0.0.0 is every one this machine has",
    "port": "port to listen at; 0 takes a free one",
    "max_body": "bytes of a request's body, at most",
    "max_texts": "texts in a request, at most",
    "max_characters": "characters of a text, at most",
    "queue": "texts that may wait; requests beyond get 503",
    "window": "last texts that are compared with the reference profile",
    "threads": "batches that are classified at the same time",
}


def read_settings(usage: str) -> Settings:
    """Settings from the command line, then the environment, then the defaults."""
    parser = argparse.ArgumentParser(prog="python -m finetune.serve", description=usage.partition("\n")[0])
    for name, told in OPTIONS.items():
        default = Settings._field_defaults[name]
        variable = f"SERVE_{name.upper()}"
        kind = type(default) if not isinstance(default, int) else whole(0, 65535) if name == "port" else whole(1)
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=kind,
            default=os.environ.get(variable, default),
            metavar=name.rpartition("_")[2].upper(),
            help=f"{told} (default {default}, or {variable})",
        )
    found = Settings(**vars(parser.parse_args()))
    if found.queue < max(found.max_texts, explain.MOST + 1):
        raise UserError(
            f"--queue {found.queue} has no room for one request; it must be at least "
            f"{max(found.max_texts, explain.MOST + 1)} (--max-texts {found.max_texts}, or {explain.MOST} words to explain)"
        )
    return found


def read_token() -> str | None:
    """What requests must bring; None where nothing is asked for. Raises UserError for what no request could bring."""
    token = os.environ.get(TOKEN)
    if token is None:
        return None
    if not token.strip():
        raise UserError(f"{TOKEN} is empty, which would let nobody or everybody in; give it a value or unset it")
    if token != token.strip():
        raise UserError(f"{TOKEN} begins or ends with white space, which no header keeps; take it away")
    if not (token.isascii() and token.isprintable()):
        raise UserError(f"{TOKEN} holds what is not printable ASCII, which no header carries unchanged; choose another")
    return token


def whole(least: int, most: float = math.inf):
    """Type of an option: a whole number in these limits."""

    def number(text: str) -> int:
        if not least <= (value := int(text)) <= most:
            allowed = f"at least {least}" if most == math.inf else f"{least} to {most}"
            raise argparse.ArgumentTypeError(f"must be {allowed}, found {value}")
        return value

    number.__name__ = "whole number"  # for argparse's own message
    return number
