"""The demo's web server: one page that says who serves it.

`web.py BASE_PORT`: an instance adds its label to the port.
"""

import http.server
import os
import signal
import sys
import time

STARTED = time.monotonic()
INSTANCE = os.environ.get("DRONED_INSTANCE", "web")


class Page(http.server.BaseHTTPRequestHandler):
    """Every path is the same page."""

    def do_GET(self) -> None:
        """Answer with the instance, its process and its age."""
        age_s = time.monotonic() - STARTED
        body = f"{INSTANCE}: pid {os.getpid()}, up for {age_s:.1f} s\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(
        self,
        format: str,  # noqa: A002 - the parent's name
        *args: object,
    ) -> None:
        """A line a request on standard output, where logs belong."""
        print(INSTANCE, format % args, flush=True)


def main() -> None:
    """Serve on the loopback address until TERM."""
    port = int(sys.argv[1]) + int(os.environ.get("DRONED_LABEL", "0"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Page)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"{INSTANCE} serves http://127.0.0.1:{port}/", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
