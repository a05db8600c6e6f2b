"""What the texts of a configuration mean."""

from collections.abc import Callable
from typing import Any

import pytest

from droned.config import values

MEANINGS: list[tuple[Callable[[str], Any], str, Any]] = [
    (values.duration, "500ms", 0.5),
    (values.duration, "10s", 10.0),
    (values.duration, "5m", 300.0),
    (values.duration, "2h", 7200.0),
    (values.duration, "30d", 2_592_000.0),
    (values.duration, "1.5h", 5400.0),
    (values.duration, "1h30m", 5400.0),
    (values.duration, "1m500ms", 60.5),
    (values.duration, "0s", 0.0),
    (values.duration, "36500d", 36_500 * 86_400.0),
    (values.size, "0", 0),
    (values.size, "4096", 4096),
    (values.size, "64K", 65_536),
    (values.size, "512M", 512 << 20),
    (values.size, "2G", 2 << 30),
    (values.size, "1T", 1 << 40),
    (values.limit_value, "unlimited", None),
    (values.limit_value, "64K", 65_536),
    (values.boolean, "true", True),
    (values.boolean, "false", False),
    (values.umask, "027", 0o27),
    (values.umask, "0o27", 0o27),
    (values.umask, "0027", 0o27),
    (values.umask, "0", 0),
    (values.umask, "0777", 0o777),
    (values.signal_number, "TERM", 15),
    (values.signal_number, "SIGTERM", 15),
    (values.signal_number, "15", 15),
    (values.signal_number, "RTMIN+3", 37),
    (values.signal_number, "SIGRTMIN+3", 37),
    (values.name, "a", "a"),
    (values.name, "0", "0"),
    (values.name, "web-2.blue_x", "web-2.blue_x"),
    (values.name, "a" * 64, "a" * 64),
    (values.variable_name, "PATH", "PATH"),
    (values.variable_name, "spring.data-source_2", "spring.data-source_2"),
    (values.count_in, "10 in 10m", (10, 600.0)),
    (values.count_in, "1  in  500ms", (1, 0.5)),
    (values.words, "gunicorn 'app:app' --bind \"a b\"", ("gunicorn", "app:app", "--bind", "a b")),
    (values.words, "a # b", ("a", "#", "b")),
    (values.words, "a; b | c > d", ("a;", "b", "|", "c", ">", "d")),
    (values.words, "", ()),
]

REFUSALS: list[tuple[Callable[[str], Any], list[str]]] = [
    (
        values.duration,
        [
            "",
            "10",
            "10 s",
            "s",
            "-1s",
            "+1s",
            "1S",
            "10sec",
            "1m1h",
            "1s1s",
            "1.s",
            ".5s",
            "1e3s",
            "1h 30m",
            "٣s",
        ],
    ),
    (values.duration, ["36501d", "9" * 400 + "d"]),
    (values.size, ["", "K", "1k", "1KB", "1.5M", "-1", "010", "0x10", "1_000", "9" * 30, "9999999T", "٣"]),
    (values.limit_value, ["", "-1", "infinity", "none"]),
    (values.boolean, ["", "True", "TRUE", "yes", "on", "1", "t"]),
    (values.umask, ["", "27", "0o", "08", "01000", "0o1000", "-027", "0x1f", "u=rwx"]),
    (
        values.signal_number,
        ["", "0", "65", "-15", "term", "TRM", "SIGSIGTERM", "RTMIN+31", "RTMIN+", "015", "9" * 99],
    ),
    (
        values.name,
        [
            "",
            "a" * 65,
            "Web",
            "-rf",
            ".x",
            "..",
            "../x",
            "a/b",
            "a b",
            "a\n",
            "a\0",
            "аpp",
            "é",
            "e\u0301",
            "\u202ea",
        ],
    ),
    (values.variable_name, ["", "1A", "A=B", "A B", "A\n", "A\0", "Ä"]),
    (
        values.count_in,
        ["", "10", "0 in 10m", "10 in 0s", "-1 in 1m", "10 in 10", "10in10m", "1000000 in 1m", "x in 1m"],
    ),
    (values.words, ["'open", '"open', "back\\"]),
]


@pytest.mark.parametrize(("read", "text", "value"), MEANINGS)
def test_text_means(read: Callable[[str], Any], text: str, value: Any) -> None:
    found = read(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(("read", "text"), [(read, text) for read, texts in REFUSALS for text in texts])
def test_text_is_refused(read: Callable[[str], Any], text: str) -> None:
    with pytest.raises(ValueError):
        read(text)


@pytest.mark.parametrize("text", ["5", "0", "-3"])
def test_whole_number_in_its_range(text: str) -> None:
    assert values.whole(text, -3, 5) == int(text)


@pytest.mark.parametrize(
    "text", ["6", "-4", "05", "+5", "5.0", "5e0", "0x5", "1_0", "", " 5", "9" * 5000, "٣"]
)
def test_no_whole_number(text: str) -> None:
    with pytest.raises(ValueError, match="whole number from -3 to 5"):
        values.whole(text, -3, 5)


def test_leading_zero_is_named() -> None:
    with pytest.raises(ValueError, match="without leading zeros"):
        values.whole("010", 0, 100)


@pytest.mark.parametrize("text", ["0", "1", "0.25", "1.0"])
def test_share_in_its_range(text: str) -> None:
    assert values.share(text, 0, 1) == float(text)


@pytest.mark.parametrize("text", ["1.1", "-0.1", ".5", "1.", "nan", "inf", "1e-1", "25%", "", "0" + ".1" * 2])
def test_no_share(text: str) -> None:
    with pytest.raises(ValueError, match="number from 0 to 1"):
        values.share(text, 0, 1)


def test_misspelt_signal_gets_its_name() -> None:
    with pytest.raises(ValueError, match='did you mean "TERM"'):
        values.signal_number("SIGTRM")
