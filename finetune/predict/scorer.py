"""Answers one part of a folder after another, with the exported model in memory; in this process, or as an actor of Ray."""

import hashlib
import platform
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from finetune.base.errors import Stopped, UserError, one_line
from finetune.predict.parts import RECORD, Part
from finetune.predict.storage import folder_at

LIBRARIES = ("numpy", "onnxruntime", "pyarrow", "tokenizers")  # other versions may change answers or files


class Job(NamedTuple):
    """What a scorer needs apart from the model: folders, options, and the libraries that the answers come from."""

    input: str
    output: str
    columns: list[str]
    prefix: str
    threads: int | None
    libraries: dict[str, str]


def library_versions() -> dict[str, str]:
    """Versions of LIBRARIES on this machine; raises UserError if one is missing."""
    try:
        return {name: version(name) for name in LIBRARIES}
    except PackageNotFoundError as error:
        raise UserError(
            f"{platform.node()} lacks {error.name}; run `make cluster` there, as on every machine"
        ) from None


def contents(folder: Path, files: list[Path]) -> dict[str, bytes]:
    """What is in these files of a folder, by their names."""
    return {name.as_posix(): (folder / name).read_bytes() for name in files}


def digest(files: dict[str, bytes]) -> str:
    """SHA-256 of files with their names."""
    total = hashlib.sha256()
    for name, content in sorted(files.items()):
        total.update(f"{name} {len(content)}\n".encode() + content)
    return total.hexdigest()


class Scorer:
    """Scores parts one at a time. `work` may run in one thread while another calls `stop`."""

    def __init__(self, job: Job, files: dict[str, bytes]):
        # Nothing that can fail: Ray reports an error here as the death of the actor, in many lines.
        self.job, self.files = job, files
        self.stopping = False

    def ready(self):
        """Loads the model. Raises UserError if libraries differ here, or if this machine does not see the folders."""
        if (found := library_versions()) != self.job.libraries:
            differ = ", ".join(
                f"{name} {found[name]} instead of {wanted}"
                for name, wanted in self.job.libraries.items()
                if found[name] != wanted
            )
            raise UserError(f"{platform.node()} has {differ}; run `make cluster` there, as on every machine")
        from finetune.runtime.classifier import Classifier

        self.input, self.output = folder_at(self.job.input), folder_at(self.job.output)
        if self.output.look(RECORD) is None:
            raise UserError(
                f"{platform.node()} does not see {self.output}; name a folder that all machines share at this path, or s3://…"
            )
        with tempfile.TemporaryDirectory(prefix="finetune-predict-") as scratch:
            for name, content in self.files.items():
                (Path(scratch) / name).parent.mkdir(exist_ok=True)
                (Path(scratch) / name).write_bytes(content)
            (model,) = (Path(name) for name in self.files if name.endswith(".onnx"))
            self.classifier = Classifier(scratch, model, threads=self.job.threads)
        del self.files

    def step(self, _rows: int):
        """Called after each batch of rows; raises Stopped if `stop` was called."""
        if self.stopping:
            raise Stopped("stopped", 0)

    def work(self, part: Part):
        """Scores a part, whole or not at all. Raises UserError for a mistake in it, and if it changed since it was listed."""
        from finetune.predict.table import answer_table

        self.check(part)
        try:
            with self.input.reading(part.name) as source, self.output.writing(part.output) as target:
                if source.stat().st_size != part.size:  # a server may send less than it has listed
                    raise UserError(f"{self.input}/{part.name} did not arrive whole; run the command again")
                found = answer_table(self.classifier, source, target, self.job.columns, self.job.prefix, self.step)
                self.check(part)
        except FileNotFoundError as error:
            raise UserError(f"{self.input}/{part.name} is gone ({one_line(error)})") from None
        except OSError as error:
            raise UserError(f"{self.input}/{part.name}: {one_line(error)} on {platform.node()}") from None
        return found

    def check(self, part: Part):
        """Raises UserError if a part is missing here or differs from what was listed."""
        found = self.input.look(part.name)
        if found is None:
            raise UserError(
                f"{platform.node()} does not see {self.input}/{part.name}; name a folder that all machines share at this path, "
                "or s3://…, and give every machine access"
            )
        if found != (part.size, part.version):
            raise UserError(f"{self.input}/{part.name} changed while the folder was scored; run the command again")

    def stop(self):
        self.stopping = True
