"""The `model.tar.gz` that SageMaker's containers unpack: model files, and the code that serves them.

https://sagemaker.readthedocs.io/en/stable/frameworks/pytorch/using_pytorch.html#model-directory-structure
"""

import gzip
import io
import tarfile
from pathlib import Path

from finetune.export.pins import pinned_versions
from finetune.runtime.classifier import FP32, INT8
from finetune.scoring.decisions import DECISION

CODE = Path(__file__).parents[1]
HANDLER = Path(__file__).with_name("sagemaker_handler.py")
SCRIPT = "inference.py"
PACKAGES = ("base", "rows", "scoring", "runtime")  # those that the script imports from
NEEDED = ("numpy", "onnxruntime", "tokenizers")
LEVEL = 1  # weights hardly compress: level 9 takes many times as long and saves one percent


def archive_files(folder: Path) -> dict[str, Path | bytes]:
    """Path inside the archive -> file or content.

    Only the files that the script loads, one ONNX file and the tokenizer (a quarter of the folder), and the card.
    """
    model = INT8 if (folder / INT8).is_file() else FP32
    files: dict[str, Path | bytes] = {str(name): folder / name for name in (model, "tokenizer.json", "README.md")}
    if (folder / DECISION).is_file():
        files[DECISION] = folder / DECISION
    versions = pinned_versions()
    files["code/requirements.txt"] = "".join(f"{name}=={versions[name]}\n" for name in NEEDED).encode()
    files[f"code/{SCRIPT}"] = HANDLER
    modules = [CODE / "__init__.py", *(path for name in PACKAGES for path in (CODE / name).glob("*.py"))]
    return files | {f"code/finetune/{path.relative_to(CODE).as_posix()}": path for path in modules}


def write_archive(folder: Path, destination: Path):
    """Writes the archive of an exported folder. The same files always give the same bytes."""
    with (
        destination.open("wb") as file,
        # By default gzip records the file's name and the time, and tar the owner and time of each file.
        gzip.GzipFile("", "wb", LEVEL, file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, content in sorted(archive_files(folder).items()):
            entry = tarfile.TarInfo(name)
            entry.mode = 0o644
            if isinstance(content, bytes):
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
            else:
                entry.size = content.stat().st_size
                with content.open("rb") as source:
                    archive.addfile(entry, source)
