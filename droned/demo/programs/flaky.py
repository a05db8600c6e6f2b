"""The demo's program with a fault: it fails now and then, after 10 to 40 seconds."""

import random
import sys
import time


def main() -> None:
    """Run for a while, then say why and fail."""
    time.sleep(random.uniform(10.0, 40.0))
    print("lost the connection to a database that does not exist", file=sys.stderr, flush=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
