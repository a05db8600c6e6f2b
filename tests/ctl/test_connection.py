"""The HTTP client: framing, keep-alive, every way in which a daemon can fail to answer."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from droned.ctl.connection import Connection
from droned.ctl.failures import ConnectionLost, Incomprehensible, TimedOut, Unreachable

Serve = Callable[[list[list[bytes]]], Path]
"""Starts a server; each connection gets its list of packets, one as the answer to each request."""


@pytest.fixture
def serve(folder: Path) -> Iterator[Serve]:
    sockets: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(connections: list[list[bytes]]) -> Path:
        path = folder / "s"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen(16)
        sockets.append(listener)

        def run() -> None:
            for answers in connections:
                end, _ = listener.accept()
                with end:
                    for answer in answers:
                        if not end.recv(65536):
                            break
                        for piece in answer.split(b"|"):
                            end.sendall(piece)
                            time.sleep(0.002)

        thread = threading.Thread(target=run)
        thread.start()
        threads.append(thread)
        return path

    yield start
    for thread in threads:
        thread.join()
    for each in sockets:
        each.close()


def connected(path: Path) -> Connection:
    return Connection((str(path),))


PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def test_an_answer_in_pieces_is_put_together(serve: Serve) -> None:
    connection = connected(serve([[b'HTT|P/1.1 200 O|K\r\nCont|ent-Length: 7\r\n\r|\n{"a|":1}']]))
    assert connection.request("GET", "/").document() == {"a": 1}
    connection.close()


def test_chunks_with_extensions_and_trailers(serve: Serve) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    connection = connected(
        serve([[head + b"3;x=y\r\nabc\r\n|0A\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n", PLAIN]])
    )
    assert connection.request("GET", "/").body == b"abc0123456789"
    assert connection.request("GET", "/").body == b"{}", "the connection goes on behind the trailers"
    connection.close()


def test_an_answer_without_length_ends_with_the_connection(serve: Serve) -> None:
    connection = connected(serve([[b"HTTP/1.1 200 OK\r\n\r\nall of|it"], [PLAIN]]))
    assert connection.request("GET", "/").body == b"all ofit"
    assert connection.request("GET", "/").body == b"{}"
    connection.close()


def test_no_body_where_none_can_be(serve: Serve) -> None:
    connection = connected(serve([[b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", PLAIN]]))
    assert connection.request("GET", "/").status == 304
    assert connection.request("GET", "/").body == b"{}"
    connection.close()


def test_an_interim_answer_is_passed_over(serve: Serve) -> None:
    connection = connected(serve([[b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN]]))
    assert connection.request("POST", "/", body=b"{}").status == 200
    connection.close()


def test_a_kept_connection_that_the_daemon_closed_is_replaced_for_a_question(serve: Serve) -> None:
    connection = connected(serve([[PLAIN], [PLAIN]]))
    connection.request("GET", "/")
    time.sleep(0.02)
    assert connection.request("GET", "/").body == b"{}"
    connection.close()


def test_a_change_is_never_sent_twice_by_itself(serve: Serve) -> None:
    connection = connected(serve([[PLAIN]]))
    connection.request("GET", "/")
    time.sleep(0.02)
    with pytest.raises(ConnectionLost):
        connection.request("POST", "/", body=b"{}")


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"],
)
def test_a_broken_off_answer_is_a_lost_connection(serve: Serve, answer: bytes) -> None:
    with pytest.raises(ConnectionLost, match="closed the connection"):
        connected(serve([[answer]])).request("GET", "/")


def test_a_chunked_answer_without_its_end_is_a_lost_connection(serve: Serve) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with pytest.raises(ConnectionLost):
        connected(serve([[head + b"3\r\nabc\r\n"]])).request("GET", "/")


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 2xx OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"x" * 70_000,
    ],
)
def test_what_is_no_http_is_said_to_be_none(serve: Serve, answer: bytes) -> None:
    with pytest.raises(Incomprehensible):
        connected(serve([[answer]])).request("GET", "/")


def test_a_body_that_is_no_object_is_incomprehensible(serve: Serve) -> None:
    answer = connected(serve([[b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]"]]))
    with pytest.raises(Incomprehensible, match="is this a droned"):
        answer.request("GET", "/").document()


def test_the_deadline_ends_a_wait(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "s"))
        listener.listen(1)
        began = time.monotonic()
        with pytest.raises(TimedOut):
            connected(folder / "s").request("GET", "/", deadline=began + 0.1)
        assert time.monotonic() - began < 2.0


def test_a_full_queue_of_connections_is_waited_for(folder: Path) -> None:
    """Linux answers EAGAIN to a connect with a timeout when the backlog is full."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "s"))
        listener.listen(0)
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(1)]
        for each in waiting:
            each.connect(str(folder / "s"))
        with pytest.raises(TimedOut):
            connected(folder / "s").request("GET", "/", deadline=time.monotonic() + 0.1)
        for each in waiting:
            each.close()


def test_unreachable_names_each_socket_and_its_errno(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(folder / "dead"))
    with pytest.raises(Unreachable) as caught:
        Connection((str(folder / "none"), str(folder / "dead"))).request("GET", "/")
    text = str(caught.value)
    assert f"cannot reach droned at {folder}/none: no such socket (ENOENT)" in text
    assert f"also tried {folder}/dead: nobody listens there (ECONNREFUSED)" in text
    assert not isinstance(caught.value, ConnectionLost)


def test_the_first_socket_that_answers_is_kept(serve: Serve, folder: Path) -> None:
    path = serve([[PLAIN]])
    connection = Connection((str(folder / "none"), str(path)))
    connection.request("GET", "/")
    assert connection.path == str(path)
    connection.close()


def test_a_path_too_long_is_an_error_in_words(folder: Path) -> None:
    with pytest.raises(Unreachable, match="too long"):
        Connection((str(folder / ("x" * 120)),)).request("GET", "/")


def test_lines_come_one_by_one_however_they_are_cut(serve: Serve) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b'5\r\n{"a":|\r\n3\r\n1}\n\r\n|8\r\n\n{}\n{}\n\n\r\n0\r\n\r\n'
    _, lines = connected(serve([[head + body]])).lines("/", quiet_s=5.0)
    assert list(lines) == [b'{"a":1}', b"{}", b"{}"]


def test_silence_is_a_lost_connection_and_ticks_until_then(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "s"))
        listener.listen(1)

        def run() -> None:
            end, _ = listener.accept()
            with end:
                end.recv(65536)
                end.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                end.recv(65536)

        thread = threading.Thread(target=run)
        thread.start()
        _, lines = connected(folder / "s").lines("/", quiet_s=0.4, tick_s=0.02)
        ticks = 0
        with pytest.raises(ConnectionLost, match="nothing came"):
            for line in lines:
                assert line == b""
                ticks += 1
        assert ticks >= 1
        thread.join()
