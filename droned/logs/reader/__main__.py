"""`python -I -S -E …/droned/logs/reader/__main__.py`: answers the question on its standard input."""

import os
import sys

# -I leaves the folder of the package out of the path; nothing but the standard library and us is needed.
sys.path.insert(
    0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
)

from droned.logs.reader.answer import main

if __name__ == "__main__":
    sys.exit(main())
