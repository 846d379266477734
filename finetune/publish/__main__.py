"""Send the exported model out, if the gate holds and it is the model that dvc.lock names.

    python -m finetune.publish hf://OWNER/NAME[@BRANCH]     (make publish TO=…) one commit on the Hugging Face Hub
    python -m finetune.publish s3://BUCKET/KEY              a model.tar.gz for SageMaker
    python -m finetune.publish FOLDER                       a copy with checksums

Whatever breaks off, nothing is half published: files that were there stay as they were. A repository or branch on the
Hub that had to be made first may stay, without the model.
"""

import argparse

from finetune.base.command import run
from finetune.base.errors import FULL, UserError, one_line
from finetune.publish import folder, hub, s3
from finetune.publish.checks import checked_pipeline
from finetune.runtime.classifier import EXPORTED

SERVICES = {"hf": hub, "s3": s3}  # by scheme; what has none is a folder


def main():
    parser = argparse.ArgumentParser(prog="python -m finetune.publish", description="Send the exported model out.")
    parser.add_argument("to", metavar="TO", help="hf://OWNER/NAME, s3://BUCKET/KEY or a folder")
    parser.add_argument("--private", action="store_true", help="a repository that this makes on the Hub is private")
    arguments = parser.parse_args()
    scheme, separator, _ = arguments.to.partition("://")
    # s3:/bucket is no folder that anyone means.
    mistyped = not separator and scheme.startswith(tuple(f"{name}:" for name in SERVICES))
    if not arguments.to or mistyped or (separator and scheme not in SERVICES):
        raise UserError(f"cannot publish to {arguments.to!r}; expected hf://OWNER/NAME, s3://BUCKET/KEY or a folder")
    if arguments.private and scheme != "hf":
        raise UserError("--private is for hf://OWNER/NAME; elsewhere the place says who may read it")
    service = SERVICES[scheme] if separator else folder
    destination = service.parse_destination(arguments.to)
    options = {"private": True} if arguments.private else {}
    try:
        with checked_pipeline():
            print(service.publish(EXPORTED, destination, **options))
    except OSError as error:
        if error.errno in FULL:
            raise UserError(f"not published: no room for a copy ({one_line(error)}); free some space") from None
        raise UserError(f"not published: {one_line(error)}; make that place writable, or name another") from None


if __name__ == "__main__":
    raise SystemExit(run(main))
