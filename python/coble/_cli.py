"""The `coble` command of the Python package: the same program as the binary."""

from __future__ import annotations

import signal
import sys

from ._coble import cli_main


def main() -> int:
    """Runs the command line of this process and returns its exit status."""
    # As the binary has it: a command that handles no signals itself ends with Ctrl-C at once.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return cli_main(sys.argv)


if __name__ == "__main__":
    sys.exit(main())
