"""The `coble` command. The implementation is the same as that of the binary."""

from __future__ import annotations

import signal
import sys

from ._coble import cli_main


def main() -> int:
    """Runs the command line and returns its exit status."""
    # A program, not a library: Ctrl-C ends it at once, where the interpreter would only take a note. What runs in the
    # foreground sets its own handlers.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return cli_main(["coble", *sys.argv[1:]])
