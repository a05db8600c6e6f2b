"""`python -I -S -E …/droned/logs/__main__.py`: the process that captures, as `start` describes it."""

import os
import sys

# -I leaves the folder of the package out of the path; nothing but the standard library and us is needed.
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from droned.logs.start import run

if __name__ == "__main__":
    run()
