"""`homeostat`, before anything is imported that takes its time: Ctrl-C in the first second ends it in a word, too."""

import sys


def main() -> None:
    """Run the command (`deploy.cli`)."""
    try:
        from deploy.cli import main as run
    except KeyboardInterrupt:
        print("homeostat: stopped.", file=sys.stderr)
        sys.exit(130)
    run()
