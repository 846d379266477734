"""A copy of the project with tiny data and a tiny model, for running real `dvc` in."""

import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import yaml
from accelerate.state import AcceleratorState

from finetune.base.yaml_file import parse_yaml_text
from tests.conftest import ROOT
from tests.support.tiny import reviews, tiny_checkpoint, write_table
from tests.support.warm import STARTUP, warm_python, warm_spawns

SOURCES = (
    "stages",
    "finetune",
    "recipes",
    "benchmarks/speed.json",
    "data/local/README.md",
    "dvc.yaml",
    "requirements.txt",
    "requirements-export.txt",
    ".gitattributes",
    ".gitignore",
    ".dvcignore",
)
# The user's own file, which Git ignores, in a folder that an experiment outside the workspace must get as a whole.
OWN_FILE = "data/local/my tickets/2024/reviews.csv"
# Variables that change settings of a library or of Python, but no result. Threads are not among them: they change last bits.
OTHER_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "info",
    "TOKENIZERS_PARALLELISM": "true",
    "PYTHONHASHSEED": "7",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",
    "LC_ALL": "C",
    "TZ": "Asia/Kathmandu",
    "USER": "other",
    "COLUMNS": "40",
}
STAGES = ("download", "tokenize", "baseline_eval", "teach", "train", "evaluate", "export")
# Not a copy of .dvc/config: no test may reach a remote that the user named there.
DVC_CONFIG = "[core]\n    analytics = false\n    check_update = false\n"
PARAMS = {
    "data": {
        "uri": "data/local/reviews.csv",
        "sha256": None,
        "text": "text",
        "label": "label",
        "labels": {"bad": "negative", "good": "positive"},
        "group": "film",
    },
    "model": {"uri": "data/local/model", "sha256": None},
    "split": {
        "validation": 0.2,
        "test": 0.2,
        "train_rows": None,
        "test_rows": None,
        "held_out_rows": None,
        "folds": None,
        "fold": None,
        "seed": 42,
    },
    "tokenize": {"max_length": 32, "truncation": "head"},
    "baseline": {
        "skip": [],
        "seed": 42,
        "zero_shot": {
            "prompts": {"negative": "a dull film", "positive": "a great film"},
            "template": "{text} it was {label}.",
        },
        "few_shot": {"per_class": 4, "draws": 3},
    },
    "train": {
        "engine": "trainer",
        "strategy": "full",
        "lr": 0.003,
        "layer_decay": 1.0,
        "head_factor": 1.0,
        "freeze_embeddings": False,
        "dropout": None,
        "frozen_from": 1.0,
        "unfrozen_after": 0.5,
        "lora": {"rank": 4, "alpha": 8, "targets": None},
        "epochs": 3,
        "min_steps": 1,
        "max_steps": None,
        "patience": None,
        "batch_size": 8,
        "weight_decay": 0.01,
        "warmup": 0.1,
        "max_grad_norm": 1.0,
        "precision": "fp32",
        "processes": 1,
        "seed": 42,
        "class_weights": None,
        "best": "accuracy",
        "teacher": None,
        "teacher_weight": 0.5,
        "teacher_temperature": 2.0,
    },
    "evaluate": {
        "bins": 10,
        "mistakes": 5,
        "slices": {"min_rows": 5, "negations": ["no", "not", "n't"]},
        "behaviour": {"rows": 20, "neutral": ["this is a story"], "negation_flips": True},
        "checks": {"similarity": 0.8},
    },
    "decide": {"min_probability": None, "min_accuracy": None, "threshold": None},
    "export": {"name": "tiny", "license": "mit", "tolerance": 0.001, "int8": {"max_drop": 0.005}},
    "gate": {"test.accuracy": {"min": 0.5}},
}


class Project:
    """A folder with the project's sources, its own Git and DVC, and commands to run in it."""

    def __init__(self, folder: Path):
        self.folder = folder
        # No test may use the machine's tokens, proxies or caches.
        self.environment = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("HF_", "DVC_", "GIT_", "PIP_"))
            },
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join([str(folder), str(STARTUP)]),
            "HF_HOME": str(folder.parent / "huggingface"),
            "DVC_SITE_CACHE_DIR": str(folder.parent / "dvc-site"),
            "DVC_GLOBAL_CONFIG_DIR": str(folder.parent / "dvc-global"),
            "DVC_SYSTEM_CONFIG_DIR": str(folder.parent / "dvc-system"),
            "DVC_NO_ANALYTICS": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "COVERAGE_PROCESS_START": "",
        }

    @property
    def warm(self) -> dict[str, str]:
        """The environment in which stages start without imports, not as children of their `dvc`; a signal kills them."""
        return self.environment | {"WARM_PYTHON": warm_python()}

    @classmethod
    def create(cls, folder: Path) -> "Project":
        """A committed project with tiny reviews and a tiny BERT; no stage has run."""
        folder.mkdir(parents=True)
        project = cls(folder)
        for name in SOURCES:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            copy(ROOT / name, folder / name)
        for cache in folder.rglob("__pycache__"):
            shutil.rmtree(cache)
        write_table(folder / OWN_FILE, reviews(160))
        tiny_checkpoint(folder / "data/local/model")
        project.write_params(PARAMS)
        # More epochs than in other tests: three are too few to learn these reviews.
        project.set_params({"data.uri": OWN_FILE, "train.epochs": 6})
        project.run("git", "init", "-q", "-b", "main")
        project.run("git", "config", "user.email", "test@example.com")
        project.run("git", "config", "user.name", "Test")
        (folder / ".dvc").mkdir()
        (folder / ".dvc/config").write_text(DVC_CONFIG, encoding="utf-8")
        shutil.copy(ROOT / ".dvc/.gitignore", folder / ".dvc/.gitignore")
        shutil.copytree(ROOT / ".dvc/plots", folder / ".dvc/plots")
        project.commit("Start")
        return project

    def copy(self, folder: Path) -> "Project":
        """A copy in another folder, with DVC's cache and the history."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Project(folder)

    def run(
        self, *command: str, check: bool = True, stdin: str | None = None, warm: bool = True, **environment: str
    ) -> subprocess.CompletedProcess:
        """Runs a command in the project's folder, with this text on stdin; stdout and stderr are text.

        Commands start warm, unless their environment differs, because libraries read theirs when they are imported.
        """
        done = subprocess.run(
            command,
            input=stdin,
            cwd=self.folder,
            env=self.warm if warm and not environment else self.environment | environment,
            text=True,
            capture_output=True,
            timeout=300,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(
                f"{' '.join(command)} exited {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
            )
        return done

    def dvc(self, *arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess:
        """Runs a DVC command."""
        return self.run("dvc", *arguments, check=check, **environment)

    def run_here(self, *stages: str):
        """Runs stages in this process and in the current folder: a stage of its own spends most of its time on imports."""
        assert Path.cwd() == self.folder
        for stage in stages:
            AcceleratorState._reset_state(
                reset_partial_state=True
            )  # it keeps the settings of a process's first training
            with warm_spawns():
                assert not import_module(f"stages.{stage}").main()

    def commit(self, message: str):
        """Commits every change to Git."""
        self.run("git", "add", "-A")
        self.run("git", "commit", "-q", "-m", message)

    def params(self) -> dict:
        """Content of params.yaml."""
        return parse_yaml_text((self.folder / "params.yaml").read_text(encoding="utf-8"), "test")

    def write_params(self, params: dict):
        """Writes these values to params.yaml."""
        text = yaml.safe_dump(params, sort_keys=False, allow_unicode=True)
        (self.folder / "params.yaml").write_text(text, encoding="utf-8")

    def set_param(self, key: str, value):
        """Sets one dotted parameter in params.yaml."""
        params = self.params()
        *path, last = key.split(".")
        section = params
        for part in path:
            section = section[part]
        section[last] = value
        self.write_params(params)

    def set_params(self, values: dict[str, object]):
        """Sets several dotted parameters in params.yaml."""
        for key, value in values.items():
            self.set_param(key, value)

    def ran(self, output: str) -> list[str]:
        """Stages that `dvc repro` ran, from its output."""
        return [stage for stage in STAGES if f"Running stage '{stage}'" in output]

    def read(self, name: str) -> str:
        """Text of a file."""
        return (self.folder / name).read_text(encoding="utf-8")
