"""The project's modules that a module imports, read from the sources."""

import ast
from pathlib import Path

PACKAGES = ("finetune", "stages")


def module_path(root: Path, name: str) -> Path | None:
    """File of one of the project's modules, by its dotted name; None for a package or a name inside a module."""
    path = root / (name.replace(".", "/") + ".py")
    return path if path.is_file() else None


def direct_imports(root: Path, path: Path) -> set[Path]:
    """The project's modules that one file imports, at its top or in a function, or names in a string: "finetune.export.reload"."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from finetune import card` names a module, `from finetune.export.card import share` a name inside one.
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)
    ours = (module_path(root, name) for name in names if name.split(".")[0] in PACKAGES)
    return {module for module in ours if module and module != path}


def all_imports(root: Path, path: Path) -> set[str]:
    """The project's modules that one file or its package imports, directly or not, as paths from the root."""
    imported, waiting = set(), {path, path.parent / "__init__.py"}
    while waiting:
        new = direct_imports(root, waiting.pop()) - imported
        imported |= new
        waiting |= new
    return {str(module.relative_to(root)) for module in imported}


def parameter_sections(path: Path) -> list[str]:
    """Sections that a stage asks `read_params` for."""
    calls = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "read_params"
    ]
    return [argument.value for call in calls for argument in call.args]
