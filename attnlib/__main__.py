"""``python -m attnlib inspect MODEL_FOLDER --text FILE``."""

import sys

from attnlib._command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
