"""A process beside the imports of a stage."""

import gc
import os
import signal
import time
from pathlib import Path

import pytest

from finetune.base.beside import beside, importing
from finetune.base.errors import UserError


def test_the_block_gets_what_the_module_wrote(workdir):
    (workdir / "work.py").write_text(
        "import os, sys\n"
        "*words, output = sys.argv[1:]\n"
        "open(output, 'w').write(' '.join([*words, os.environ['OMP_NUM_THREADS']]))\n"
    )
    with beside("work", "two", "words") as result:
        output = result()
        assert output.read_text() == "two words 1"
    assert not output.exists()


def test_ctrl_c_is_heard_here_alone(workdir):
    """A terminal tells both; the process would fill the screen with where it was."""
    (workdir / "work.py").write_text(
        "import os, signal, sys\nos.kill(os.getpid(), signal.SIGINT)\nopen(sys.argv[1], 'w').write('done')\n"
    )
    with beside("work") as result:
        assert result().read_text() == "done"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_module_that_fails_is_told_in_one_line(workdir):
    (workdir / "work.py").write_text("raise SystemExit(3)\n")
    with pytest.raises(UserError, match="work ended with status 3; what it said stands above"):
        with beside("work") as result:
            result()


def test_an_error_in_the_block_stops_the_process(workdir):
    """It would write for a minute; nobody waits for it."""
    (workdir / "work.py").write_text(
        "import os, time\nopen('pid', 'w').write(str(os.getpid()))\nopen('ready', 'w')\ntime.sleep(60)\n"
    )

    def work():
        with beside("work"):
            while not Path("ready").exists():
                time.sleep(0.01)
            raise UserError("other rows")

    started = time.monotonic()
    with pytest.raises(UserError, match="other rows"):
        work()
    assert time.monotonic() - started < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int(Path("pid").read_text()), 0)


def test_garbage_is_searched_again_after_imports():
    with importing():
        assert not gc.isenabled()
    assert gc.isenabled()
