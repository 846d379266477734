"""Commands on a full disk: one line, and the file that was there stays. A limit on the size of files stands for the disk."""

import pytest

COMMANDS = {
    "report.html": "finetune.report",
    ".dvc/plots.html": "finetune.plots_page",
    "gate.md": "finetune.gate --markdown=gate.md",
    "scored.csv": "finetune.predict --input=texts.csv --output=scored.csv",
    "params.yaml": "finetune.recipe chinese-csv",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_that_does_not_fit_leaves_the_earlier_one(project, name):
    path = project.folder / name
    (project.folder / "texts.csv").write_text("text\n" + "a good film\n" * 300, encoding="utf-8")
    if not path.exists():
        path.write_text("earlier", encoding="utf-8")
    before, listed = path.read_bytes(), sorted(path.parent.iterdir())
    done = project.run("bash", "-c", f"ulimit -f 1; exec python -m {COMMANDS[name]}", check=False, warm=False)
    assert done.returncode == (2 if name == "gate.md" else 1), done.stderr
    assert done.stderr.startswith(
        f"error: no room to write {name} ([Errno 27] File too large: '{name}'); free some space and"
    )
    assert done.stderr.count("\n") == 1
    assert path.read_bytes() == before
    assert sorted(path.parent.iterdir()) == listed
