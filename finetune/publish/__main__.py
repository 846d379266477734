"""Publish the exported model if the gate holds and it is the model that dvc.lock names.

    python -m finetune.publish hf://OWNER/NAME[@BRANCH]     one commit on the Hugging Face Hub (make publish TO=…)
    python -m finetune.publish s3://BUCKET/KEY              a model.tar.gz for SageMaker
    python -m finetune.publish FOLDER                       a copy with checksums

If publishing fails halfway, the files of an earlier publication stay unchanged. A new repository or branch on the Hub may
remain, without the model.
"""

import argparse
import contextlib
import signal

from finetune.base.addresses import brings_secret, secret_refusal
from finetune.base.command import Parser, run
from finetune.base.errors import FULL, MADE_BY_STAGES, Stopped, UserError, file_problem, one_line
from finetune.base.terminal import say
from finetune.publish import folder, hub, s3
from finetune.publish.checks import checked_pipeline
from finetune.runtime.classifier import EXPORTED

SERVICES = {"hf": hub, "s3": s3}  # by URL scheme; without one the destination is a folder


def stop(number: int, _):
    """Handler of a signal: ends the command as Ctrl-C does."""
    raise Stopped("stopped; what was published before is unchanged, or replaced whole", 128 + number)


def main():
    summary, _, more = __doc__.partition("\n\n")
    parser = Parser(
        prog="python -m finetune.publish",
        description=summary,
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("to", metavar="TO", help="hf://OWNER/NAME, s3://BUCKET/KEY or a folder")
    parser.add_argument("--private", action="store_true", help="if the Hub repository is new, make it private")
    arguments = parser.parse_args()
    scheme, separator, _ = arguments.to.partition("://")
    # s3:/bucket is a mistyped address, not a folder.
    mistyped = not separator and scheme.startswith(tuple(f"{name}:" for name in SERVICES))
    if not arguments.to or mistyped or (separator and scheme not in SERVICES):
        raise UserError(f"cannot publish to {arguments.to!r}; expected hf://OWNER/NAME, s3://BUCKET/KEY or a folder")
    with contextlib.suppress(ValueError):  # no address at all, which the services refuse
        if brings_secret(arguments.to):
            elsewhere = "the environment (AWS_SECRET_ACCESS_KEY, HF_TOKEN, …)"
            raise UserError(secret_refusal("the destination", elsewhere))
    if arguments.private and scheme != "hf":
        raise UserError(
            "--private is only for hf://OWNER/NAME; elsewhere the permissions of the destination decide who may read it"
        )
    service = SERVICES[scheme] if separator else folder
    options = {"private": True} if arguments.private else {}
    try:
        destination = service.parse_destination(arguments.to)
        with checked_pipeline():
            say(service.publish(EXPORTED, destination, **options))
    except OSError as error:
        if error.errno in FULL:
            raise UserError(f"not published: no room for a copy ({one_line(error)}); free some space") from None
        if error.filename and str(error.filename).split("/")[0] in (*MADE_BY_STAGES, ".dvc"):
            raise UserError(f"not published: {file_problem(error) or one_line(error)}") from None
        raise UserError(f"not published: {one_line(error)}; make the destination writable, or choose another") from None


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)  # so that a temporary archive or copy is removed
    raise SystemExit(run(main))
