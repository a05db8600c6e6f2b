"""Strict YAML: what is refused although YAML lets it pass, bombs, odd bytes, and where problems stand."""

import time
from collections.abc import Callable

import pytest
import yaml

from droned.config import loader
from droned.config.loader import MOST_BYTES, read_value, read_yaml
from droned.config.nodes import Broken, Mapping, Node, Origin, Problems, Scalar, Sequence

Plain = str | list["Plain"] | dict[str, "Plain"] | None


PARSERS = [name for name in ("CSafeLoader", "SafeLoader") if hasattr(yaml, name)]
"""The library's two parsers; the one in C is not everywhere."""


@pytest.fixture(params=PARSERS)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    monkeypatch.setattr(loader, "PARSER", getattr(yaml, name))
    return name


def plain(node: Node | None) -> Plain:
    """A node without its places; quoted text keeps single quotes."""
    match node:
        case Scalar(text=text, quoted=quoted):
            return f"'{text}'" if quoted else text
        case Sequence(items=items):
            return [plain(item) for item in items]
        case Mapping(pairs=pairs):
            return {key.text: plain(value) for key, value in pairs}
    return None


def read(text: str | bytes) -> tuple[Node | None, tuple[str, ...]]:
    problems = Problems()
    node = read_yaml("f.yaml", text.encode() if isinstance(text, str) else text, 0, problems)
    return node, problems.lines()


def refusal(text: str | bytes) -> str:
    """The one problem of a text."""
    _, problems = read(text)
    assert len(problems) == 1, problems
    return problems[0]


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("a: 010", {"a": "010"}),
        ("a: 1.10", {"a": "1.10"}),
        ("a: 12:30:45", {"a": "12:30:45"}),
        ("a: no", {"a": "no"}),
        ("a: 'no'", {"a": "'no'"}),
        ("a: ~", {"a": "~"}),
        ("a:", {"a": ""}),
        ("no: 1", {"no": "1"}),
        ("a: 2024-01-01", {"a": "2024-01-01"}),
        ("a: ${B}", {"a": "${B}"}),
        ("a: |\n  x\n  y\n", {"a": "'x\ny\n'"}),
        ("a: [1, {b: c}]", {"a": ["1", {"b": "c"}]}),
        ("\ufeffa: 1", {"a": "1"}),
        ("%YAML 1.1\n---\na: 1\n...\n", {"a": "1"}),
        ("a: 'ü€😀'", {"a": "'ü€😀'"}),
        ('a: "\\e[1m"', {"a": "'\x1b[1m'"}),
        ("a: 1\r\nb: 2\r\n", {"a": "1", "b": "2"}),
    ],
)
def test_text_stays_as_it_is_written(parser: str, text: str, meaning: Plain) -> None:
    node, problems = read(text)
    assert not problems
    assert plain(node) == meaning


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "\ufeff"])
def test_nothing_is_no_document(parser: str, text: str) -> None:
    assert read(text) == (None, ())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", 'f.yaml:3:1: cannot have the key "a" twice: it is at f.yaml:1:1 as well'),
        ("a: {x: 1, 'x': 2}", "f.yaml:1:11: cannot have the key"),
        ("a: &b 1", "f.yaml:1:4: cannot use the anchor &b: what apps share goes under defaults:"),
        ("a: *b", "f.yaml:1:4: cannot use the alias *b: what apps share goes under defaults:"),
        ("a: {<<: {b: 1}}", "f.yaml:1:5: cannot use the merge key <<: what apps share"),
        ("a: !!python/object/apply:os.system [ls]", "f.yaml:1:4: cannot use the tag"),
        ("a: !secret b", 'f.yaml:1:4: cannot use the tag "!secret": droned knows none'),
        ("a: !!str 1", "f.yaml:1:4: cannot use the tag"),
        ("a: ! b", "f.yaml:1:4: cannot use the tag"),
        ("? [a]\n: 1", "f.yaml:1:3: cannot use a list as a key"),
        ("{a: 1}: 2", "f.yaml:1:1: cannot use a mapping as a key"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2:1: cannot read a second document: a file has one"),
        ("a: [1", "cannot read this as YAML: "),
        ("a: 'x", "cannot read this as YAML: "),
        ("\ta: 1", "f.yaml:1:1: cannot read this as YAML: found character"),
        ("a: b: c", "f.yaml:1:5: cannot read this as YAML: mapping values are not allowed"),
        ("a: %b", "f.yaml:1:4: cannot read this as YAML: found character"),
        ("%TAG ! x", "cannot read this as YAML: "),
        ("- a\nb: 1", "cannot read this as YAML: "),
    ],
)
def test_text_is_refused_at_its_place(parser: str, text: str, expected: str) -> None:
    assert expected in refusal(text)


def test_all_that_is_wrong_is_told_at_once() -> None:
    node, problems = read("a: &x 1\nb: *x\nc: !t 2\nc: 3\nd: ok\n")
    assert [line.split(": ")[0] for line in problems] == ["f.yaml:1:4", "f.yaml:3:4", "f.yaml:4:1"]
    assert plain(node) == {"a": None, "b": None, "c": None, "d": "ok"}


def test_what_is_shared_is_told_once_a_file() -> None:
    """A bomb must not hide what else is wrong."""
    _, problems = read("a: &y [&x 1, *x, *x]\nb: {<<: *y}\n? [a]\n: 1\n")
    assert problems == (
        "f.yaml:1:4: cannot use the anchor &y: what apps share goes under defaults: (and 5 more of them)",
        "f.yaml:3:3: cannot use a list as a key",
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a: 1\nb: x\xff\n", "f.yaml:2:5: cannot read the byte 0xff: it is not UTF-8"),
        (b"\xff\xfea\0:\0", "f.yaml:1:1: cannot read the byte 0xff"),
        (b"a: \xc3\x28", "f.yaml:1:4: cannot read the byte 0xc3"),
        (b"a: \xed\xa0\x80", "f.yaml:1:4: cannot read the byte 0xed"),
        (b"a: x\0y", "f.yaml:1:5: cannot read the character U+0000"),
        (b"a: \x1b[1m", "f.yaml:1:4: cannot read the character U+001B"),
        (b"# \x07\n", "f.yaml:1:3: cannot read the character U+0007"),
        ("a: \ufeffx".encode(), "f.yaml:1:4: cannot read the character U+FEFF"),
        ("a: ü\x01".encode(), "f.yaml:1:5: cannot read the character U+0001"),
    ],
)
def test_odd_bytes_are_refused_at_their_place(content: bytes, expected: str) -> None:
    assert refusal(content).startswith(expected)


BOMBS: dict[str, Callable[[], bytes]] = {
    "10 MB of text": lambda: b"a: " + b"x" * 10_000_000,
    "10 MB of lists": lambda: b"[" + b"1," * 5_000_000 + b"]",
    "aliases": lambda: b"\n".join(
        [
            b"a0: &a0 [x]",
            *(b"a%d: &a%d [%s]" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 40)),
        ]
    ),
    "a circle of aliases": lambda: b"a: &a [*a]\nb: &b {<<: *b}\n",
    "20,000 brackets": lambda: b"[" * 20_000,
    "20,000 braces": lambda: b"{a: " * 20_000,
    "20,000 dashes": lambda: b"- " * 20_000,
    "indented mappings": lambda: b"\n".join(b" " * n + b"a:" for n in range(1000)),
    "200,000 values": lambda: b"[" + b"1," * 200_000 + b"]",
    "200,000 keys": lambda: b"\n".join(b"%d:" % n for n in range(130_000)),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_refused_soon(bomb: str) -> None:
    content = BOMBS[bomb]()
    began = time.process_time()
    _, problems = read(content)
    taken = time.process_time() - began
    assert problems
    # The promise is 0.1 s for what does not have to be read; reading 100,000 values takes its time.
    assert taken < (3.0 if "200,000" in bomb else 0.5), taken


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[" * 40, "f.yaml:1:33: cannot read more than 32 levels"),
        ("x" * (MOST_BYTES + 1), f"f.yaml:1:1: cannot read {MOST_BYTES + 1} bytes of configuration"),
        ("[" + "1," * 100_000 + "]", "cannot read more than 100000 values"),
    ],
)
def test_limits_are_told(text: str, expected: str) -> None:
    assert expected in refusal(text)


def test_32_levels_can_be_read() -> None:
    assert read("[" * 32 + "]" * 32)[1] == ()


def test_the_value_of_an_option_stands_where_the_option_does() -> None:
    problems = Problems()
    origin = Origin(3, 0, 0, "--set a=[1]")
    node = read_value("[1, {b: c}]", origin, problems)
    assert plain(node) == ["1", {"b": "c"}]
    assert isinstance(node, Sequence)
    assert {node.origin, *(item.origin for item in node.items)} == {origin}
    assert str(origin) == "--set a=[1]"


@pytest.mark.parametrize("text", ["[1", "\0", "\udcff", "x" * (MOST_BYTES + 1), "*a"])
def test_a_value_that_cannot_be_read_is_broken(text: str) -> None:
    problems = Problems()
    assert isinstance(read_value(text, Origin(0, 0, 0, "--set a"), problems), Broken)
    assert problems.lines()[0].startswith("--set a: cannot ")


def test_no_value_is_nothing() -> None:
    problems = Problems()
    assert plain(read_value("", Origin(0, 0, 0, "--set a"), problems)) == ""
    assert not problems
