"""redis, nginx and gunicorn under droned: programs with manners and workers of their own."""

import http.client
import os
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults import processes
from tests.running import Droned, until

pytestmark = pytest.mark.live

NGINX = """
worker_processes 2;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log /dev/stdout;
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
    server {{ listen 127.0.0.1:{port}; location / {{ return 200 "from nginx"; }} }}
}}
"""

GUNICORN = """
import os
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [os.environ["DRONED_INSTANCE"].encode()]
"""


def found(program: str) -> str:
    """The path of a program that `bin/test` installs."""
    path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    assert path, f"{program} is not installed: bin/test does that"
    return path


def get(address: Path | int) -> str:
    """The page that a web server on a Unix socket, or on a port of this host, serves."""
    port = address if isinstance(address, int) else 80
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        if isinstance(address, Path):
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(5)
            connection.sock.connect(str(address))
        connection.request("GET", "/")
        answer = connection.getresponse()
        assert answer.status == 200
        return answer.read().decode()
    finally:
        connection.close()


def page_of(address: Path | int) -> str | None:
    """The page, or None while there is nobody to serve it."""
    try:
        return get(address)
    except (OSError, http.client.HTTPException):
        return None


def row(droned: Droned, instance: str) -> dict[str, Any]:
    return droned.rows()[instance]


def killed_and_back(droned: Droned, instance: str) -> dict[str, Any]:
    """KILL the instance's main process; its row once another one runs."""
    before = row(droned, instance)
    os.kill(before["pid"], signal.SIGKILL)

    def back() -> dict[str, Any] | None:
        now = row(droned, instance)
        return now if now["state"] == "running" and now["pid"] != before["pid"] else None

    return until(back, what=f"{instance} is back")


@pytest.fixture
def redis(droned: Droned) -> Droned:
    droned.configure(f"""
version: 1
apps:
  redis:
    command: [{found("redis-server")}, --port, "0", --unixsocket, redis.sock, --save, "3600 1"]
    directory: {droned.folder}
    start: {{grace: 200ms}}
    restart: {{policy: always, delay: 0s}}
""")
    droned.start()
    droned.until_state("running")
    return droned


def ask_redis(droned: Droned, *words: str) -> str | None:
    """The answer to one inline command; None while redis is not there."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        try:
            connection.connect(str(droned.folder / "redis.sock"))
            connection.sendall((" ".join(words) + "\r\n").encode())
            return connection.recv(1000).decode().strip()
        except OSError:
            return None


def test_redis_saves_when_it_is_restarted_and_comes_back_when_it_is_killed(redis: Droned) -> None:
    assert until(lambda: ask_redis(redis, "PING"), what="redis answers") == "+PONG"
    ask_redis(redis, "SET", "key", "kept")
    first = row(redis, "redis/0")["pid"]
    redis.done("restart", "redis")
    assert row(redis, "redis/0")["pid"] != first
    assert until(lambda: ask_redis(redis, "GET", "key"), what="redis answers") == "$4\r\nkept"
    assert killed_and_back(redis, "redis/0")["restarts"] >= 1
    assert until(lambda: ask_redis(redis, "PING"), what="redis answers") == "+PONG"


def test_redis_stops_with_a_status_of_its_own(redis: Droned) -> None:
    pid = row(redis, "redis/0")["pid"]
    redis.done("stop", "redis")
    after = row(redis, "redis/0")
    assert (after["state"], after["wanted"], after["exit"]["code"]) == ("stopped", "down", 0)
    assert not processes.is_alive(pid)
    assert ask_redis(redis, "PING") is None


@pytest.fixture
def port() -> int:
    """A port of the loopback address that was free just now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
def nginx(droned: Droned, port: int) -> Droned:
    (droned.folder / "nginx.conf").write_text(NGINX.format(folder=droned.folder, port=port))
    droned.configure(f"""
version: 1
apps:
  nginx:
    command: [{found("nginx")}, -e, stderr, -c, "{droned.folder}/nginx.conf", -g, daemon off;]
    start: {{grace: 200ms}}
    restart: {{policy: always, delay: 0s}}
    stop: [{{signal: QUIT, to: main, for: 5s}}, {{signal: KILL, to: tree}}]
""")
    droned.start()
    droned.until_state("running")
    return droned


def test_nginx_whose_master_was_killed_gets_rid_of_its_workers_and_is_back(nginx: Droned, port: int) -> None:
    """The orphaned workers hold the port: a new master that comes before they are gone cannot start."""
    master = row(nginx, "nginx/0")["pid"]
    workers = until(lambda: processes.children_of(master), what="workers")
    assert get(port) == "from nginx"
    killed_and_back(nginx, "nginx/0")
    assert row(nginx, "nginx/0")["restarts"] == 1
    assert until(lambda: page_of(port), what="nginx serves") == "from nginx"
    assert not any(map(processes.is_alive, workers))


def test_nginx_takes_hup_as_its_own_and_keeps_its_pid(nginx: Droned, port: int) -> None:
    before = row(nginx, "nginx/0")
    old = until(lambda: processes.children_of(before["pid"]), what="workers")
    nginx.done("kill", "-s", "HUP", "nginx")
    until(lambda: not any(map(processes.is_alive, old)), what="new workers")
    after = row(nginx, "nginx/0")
    assert (after["pid"], after["run"], after["state"]) == (before["pid"], before["run"], "running")
    assert get(port) == "from nginx"


def test_nginx_writes_its_access_log_to_standard_output(nginx: Droned, port: int) -> None:
    get(port)

    def logged() -> list[Path]:
        files = (path for path in nginx.state_dir.rglob("*") if path.is_file())
        return [path for path in files if b'"GET / HTTP/1.1" 200' in path.read_bytes()]

    assert until(logged, what="the request in a file of the state folder")


@pytest.fixture
def gunicorn(droned: Droned) -> Droned:
    (droned.folder / "site.d").mkdir()
    (droned.folder / "site.d/page.py").write_text(GUNICORN)
    droned.configure(f"""
version: 1
apps:
  site:
    command:
      - {sys.executable}
      - -m
      - gunicorn
      - --workers=2
      - --bind=unix:{droned.folder}/site${{DRONED_LABEL}}.sock
      - page:app
    directory: {droned.folder}/site.d
    instances: 2
    restart: {{policy: always, delay: 0s}}
""")
    droned.start()
    droned.until_state("running")
    return droned


def served(droned: Droned) -> list[str]:
    """What both instances serve, waiting for each."""
    sockets = [droned.folder / f"site{label}.sock" for label in range(2)]
    return [until(lambda path=path: page_of(path), what=f"{path} serves") for path in sockets]  # type: ignore[misc]


def test_gunicorn_serves_on_while_the_daemon_is_killed(gunicorn: Droned) -> None:
    assert served(gunicorn) == ["site/0", "site/1"]
    before = {name: each["pid"] for name, each in gunicorn.rows().items()}
    daemon = gunicorn.daemon_pid
    os.kill(daemon, signal.SIGKILL)
    assert served(gunicorn) == ["site/0", "site/1"]
    gunicorn.in_control(other_than=daemon)
    assert {name: each["pid"] for name, each in gunicorn.rows().items()} == before
    gunicorn.done("restart", "site")
    after = {name: each["pid"] for name, each in gunicorn.rows().items()}
    assert not set(before.values()) & set(after.values())
    assert served(gunicorn) == ["site/0", "site/1"]


def test_gunicorn_is_scaled_down_with_its_workers(gunicorn: Droned) -> None:
    served(gunicorn)
    gone = row(gunicorn, "site/1")["pid"]
    workers = processes.children_of(gone)
    assert workers
    gunicorn.done("scale", "site=1")
    until(lambda: not any(map(processes.is_alive, (gone, *workers))), what="site/1 is gone")
    assert get(gunicorn.folder / "site0.sock") == "site/0"
