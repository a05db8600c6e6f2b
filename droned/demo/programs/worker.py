"""The demo's worker: finishes a job every few seconds and takes TERM between two jobs only."""

import random
import signal
import sys
import time

stop_asked = False


def ask_to_stop(*_: object) -> None:
    """Note the signal; the job at hand is finished first."""
    global stop_asked
    stop_asked = True


def main() -> None:
    """Work until asked to stop."""
    signal.signal(signal.SIGTERM, ask_to_stop)
    job = 0
    while not stop_asked:
        job += 1
        time.sleep(random.uniform(0.5, 2.0))
        print(f"job {job} done", flush=True)
    print("asked to stop, and nothing is half done", flush=True)
    sys.exit(0)


if __name__ == "__main__":
    main()
