"""The layout: a package imports only from packages before it in the list, and dvc.yaml lists the imports of each stage."""

from pathlib import Path

import pytest
import yaml

from docs.readme import FLOORS
from tests.conftest import ROOT
from tests.support.imports import all_imports, direct_imports, module_path

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
# Modules that a stage lists with their folder but does not import: an edit there reruns the stage for nothing. Add a pair
# only where splitting the package would cost a reader more than the rerun costs a user.
DECLARED_LOSS = {
    "download": {"finetune/base/metric_files.py"},  # every other stage writes metrics
    "tokenize": {"finetune/rows/lengths.py", "finetune/rows/form.py"},  # `form` reads single texts, for later stages
    "baseline_eval": {"finetune/rows/form.py", "finetune/rows/tokenizer_fit.py", "finetune/scoring/decisions.py"},
    "teach": {  # the readers of tables, which belong to the same sources
        "finetune/base/metric_files.py",
        "finetune/rows/form.py",
        "finetune/rows/tokenizer_fit.py",
        "finetune/sources/label_cells.py",
        "finetune/sources/labels.py",
        "finetune/sources/raw_rows.py",
    },
    "train": {"finetune/rows/form.py", "finetune/rows/tokenizer_fit.py"},
    "evaluate": {
        f"finetune/baselines/{name}.py"
        for name in ("frozen", "label_sets", "one_label", "prompting", "scored", "with_encoder")
    },
    "export": {"finetune/rows/tokenizer_fit.py"},
}


def modules() -> list[Path]:
    """Modules of `finetune`, without the docstring files of packages."""
    return sorted(path for path in (ROOT / "finetune").rglob("*.py") if path.name != "__init__.py")


def part(path: Path) -> str:
    """Package or top-level module that a file belongs to: finetune/rows/tokens.py -> "rows"."""
    return path.relative_to(ROOT / "finetune").parts[0].removesuffix(".py")


def code_deps(stage: str) -> list[str]:
    """Folders and files of `finetune` that a stage lists."""
    return [dep for dep in PIPELINE[stage]["deps"] if dep.startswith("finetune/")]


def listed_modules(stage: str) -> set[str]:
    """Modules in the folders and files that a stage lists, as paths from the root."""
    paths = [
        path
        for dep in code_deps(stage)
        for path in ([ROOT / dep] if dep.endswith(".py") else (ROOT / dep).rglob("*.py"))
    ]
    return {path.relative_to(ROOT).as_posix() for path in paths if path.name != "__init__.py"}


def imported_modules(stage: str) -> set[str]:
    """Modules of `finetune` that a stage imports, directly or not, as paths from the root."""
    return {name for name in all_imports(ROOT, ROOT / f"stages/{stage}.py") if name.startswith("finetune/")}


def test_every_package_and_command_is_in_the_list():
    assert {part(path) for path in modules()} == set(FLOORS)


def test_a_package_imports_only_from_those_before_it():
    wrong = [
        f"{path.relative_to(ROOT)} imports {other.relative_to(ROOT)}"
        for path in modules()
        for other in direct_imports(ROOT, path)
        if other.is_relative_to(ROOT / "finetune") and FLOORS.index(part(other)) > FLOORS.index(part(path))
    ]
    assert wrong == []


def test_a_package_file_holds_one_docstring_and_imports_nothing():
    for path in (ROOT / "finetune").glob("*/**/__init__.py"):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) == 1, path
        assert lines[0].startswith('"""'), path
        assert lines[0].endswith('."""'), path


def test_no_stage_imports_another_stage():
    for stage in PIPELINE:
        assert not any(name.startswith("stages/") for name in all_imports(ROOT, ROOT / f"stages/{stage}.py"))


@pytest.mark.parametrize("stage", PIPELINE)
def test_no_score_is_stale_every_imported_module_is_listed(stage):
    assert imported_modules(stage) - listed_modules(stage) == set()


@pytest.mark.parametrize("stage", PIPELINE)
def test_no_dependency_is_idle_every_listed_folder_holds_an_imported_module(stage):
    imported = imported_modules(stage)
    idle = [dep for dep in code_deps(stage) if not any(name == dep or name.startswith(f"{dep}/") for name in imported)]
    assert idle == []


@pytest.mark.parametrize("stage", PIPELINE)
def test_modules_listed_but_not_imported_are_declared(stage):
    assert listed_modules(stage) - imported_modules(stage) == DECLARED_LOSS.get(stage, set())


def test_training_depends_on_no_code_of_scores_and_reports():
    assert code_deps("train") == [f"finetune/{name}" for name in ("base", "rows", "encoder", "training")]


def test_the_pipeline_file_stays_short():
    assert len((ROOT / "dvc.yaml").read_text(encoding="utf-8").splitlines()) <= 245


def test_module_names_are_found_as_files():
    """If the search for imports found nothing, the other tests would all pass."""
    assert module_path(ROOT, "finetune.rows.tokens") == ROOT / "finetune/rows/tokens.py"
    assert "finetune/rows/tokens.py" in all_imports(ROOT, ROOT / "stages/tokenize.py")
