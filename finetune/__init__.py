"""Fine-tune a transformer to classify text: a package for each set of stages that reruns together, and the commands."""

import signal
import sys

if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # A command is starting. Its libraries take seconds to import, and Ctrl-C must not print where they were: until `run`
    # takes over, it ends the process at once.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
