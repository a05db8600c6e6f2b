"""Whatever the text: a configuration or a ConfigurationError, never anything else."""

from hypothesis import given, settings
from hypothesis import strategies as st

from droned.config import load
from droned.config.schema import LATER, walk
from droned.errors import ConfigurationError
from droned.models.policy import Configuration

ENVIRON = {"A": "x", "ODD": "\udcff", "EMPTY": ""}

KEYS = sorted(
    {key.name for _, key in walk()} | set().union(*LATER.values()) | {"web", "<<", "A", "nofile", ""}
)
TEXTS = [
    *(
        "1",
        "2",
        "010",
        "0x1",
        "1.5",
        "-1",
        "true",
        "no",
        "off",
        "~",
        "",
        "never",
        "10s",
        "10",
        "1h30m",
        "10 in 10m",
    ),
    *(
        "027",
        "/srv",
        "x",
        "KILL",
        "tree",
        "main",
        "on-failure",
        "${A}",
        "${ODD}",
        "${NO}",
        "${DRONED_LABEL}",
        "$$",
    ),
    *(
        "'quoted'",
        '"\\0"',
        '"\\ud800"',
        "*a",
        "&a b",
        "!t x",
        "|",
        "[",
        "]",
        "{",
        "}",
        "a: b",
        "- a",
        "?",
        "'",
        "%",
    ),
]

nodes = st.recursive(
    st.sampled_from(TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: f"[{', '.join(items)}]"),
        st.lists(st.tuples(st.sampled_from(KEYS), inner), max_size=5).map(
            lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
        ),
    ),
    max_leaves=12,
)
documents = st.lists(st.tuples(st.sampled_from(KEYS), nodes), max_size=5).map(
    lambda pairs: "\n".join(["version: 1", *(f"{key}: {value}" for key, value in pairs)])
)
apps = st.lists(st.tuples(st.sampled_from(KEYS), nodes), max_size=6).map(
    lambda pairs: "\n".join(
        ["version: 1", "apps:", "  web:", *(f"    {key}: {value}" for key, value in pairs)]
    )
)


def judge(sources: list[tuple[str, bytes]], sets: list[str]) -> None:
    """Load, and see that what comes of it is well made."""
    made = attempt(sources, sets)
    if isinstance(made, Configuration):
        for app in made.apps.values():
            assert app.launch.command
            assert app.stop[-1].for_s is None
    else:
        assert made.problems
        assert all(line.isprintable() for line in made.problems)


def attempt(sources: list[tuple[str, bytes]], sets: list[str]) -> Configuration | ConfigurationError:
    try:
        return load(sources, sets, ENVIRON)
    except ConfigurationError as refused:
        return refused


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_any_bytes(content: bytes) -> None:
    judge([("f.yaml", content)], [])


@given(st.text(max_size=300))
@settings(deadline=None)
def test_any_text(text: str) -> None:
    judge([("f.yaml", text.encode("utf-8", "surrogatepass"))], [])


@given(st.lists(st.one_of(documents, apps), min_size=1, max_size=3))
@settings(max_examples=150, deadline=None)
def test_any_keys_with_any_values(texts: list[str]) -> None:
    judge([(f"{number}.yaml", text.encode()) for number, text in enumerate(texts)], [])


@given(
    st.lists(
        st.one_of(st.text(max_size=40), st.builds("{}={}".format, st.text(max_size=20), nodes)), max_size=3
    )
)
@settings(deadline=None)
def test_any_settings(sets: list[str]) -> None:
    judge([("f.yaml", b"version: 1\napps: {web: {command: [x]}}")], sets)
