"""Variables in texts: what is put in when a configuration is loaded, and what when an instance starts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from droned.models.policy import Launch
from droned.models.variables import LONGEST_TEXT, escaped, expand, expand_launch, is_instance_bound, put_in

ENVIRON = {"PORT": "80", "EMPTY": "", "TRICK": "${PORT} $$ $HOME ${DRONED_LABEL}", "ODD": "\udcff"}
INSTANCE = {
    "DRONED_APP": "web",
    "DRONED_INSTANCE": "web/blue",
    "DRONED_LABEL": "blue",
    "DRONED_SERVER": "host1",
}


@pytest.mark.parametrize(
    ("text", "final"),
    [
        ("plain", "plain"),
        ("${PORT}", "80"),
        ("a${PORT}b${PORT}", "a80b80"),
        ("${EMPTY}", ""),
        ("${EMPTY:-x}", "x"),
        ("${MISSING:-x}", "x"),
        ("${MISSING:-}", ""),
        ("${MISSING:-a $$b: c}", "a $b: c"),
        ("${PORT:-x}", "80"),
        ("${PORT:?no port}", "80"),
        ("$$", "$"),
        ("$${PORT}", "${PORT}"),
        ("$$$${PORT}", "$${PORT}"),
        ("$$${PORT}", "$80"),
        ("$HOME costs $5 or $", "$HOME costs $5 or $"),
        ("${TRICK}", ENVIRON["TRICK"]),
        ("$${TRICK}", "${TRICK}"),
        ("${ODD}", "\udcff"),
        ("800${DRONED_LABEL}", "800blue"),
        ("${DRONED_APP}|${DRONED_INSTANCE}|${DRONED_SERVER}", "web|web/blue|host1"),
        ("$${DRONED_LABEL}", "${DRONED_LABEL}"),
        ("${DRONED_LABEL:-x}", "blue"),
        ("${PORT}{DRONED_LABEL}", "80{DRONED_LABEL}"),
    ],
)
def test_text_becomes(text: str, final: str) -> None:
    assert put_in(expand(text, ENVIRON), INSTANCE) == final


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("${MISSING}", "MISSING} is not set"),
        ("${MISSING:?give the port}", "give the port"),
        ("${EMPTY:?give the port}", "give the port"),
        ("${EMPTY:?}", "must have a value"),
        ("${", "no variable"),
        ("${}", "no variable"),
        ("${1A}", "no variable"),
        ("${A B}", "no variable"),
        ("${A", "no variable"),
        ("${A:+x}", "no variable"),
        ("${A%x}", "no variable"),
        ("${A:-${PORT}}", "no variable"),
        ("${Ä}", "no variable"),
        ("${DRONED_STATE}", "DRONED_STATE} is not set"),
    ],
)
def test_text_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        expand(text, ENVIRON)


def test_values_cannot_fill_the_memory() -> None:
    with pytest.raises(ValueError, match="longer than"):
        expand("${BIG}" * 100_000, {"BIG": "x" * LONGEST_TEXT})


@pytest.mark.parametrize(("text", "bound"), [("$$", False), ("${PORT}", False), ("x${DRONED_APP}", True)])
def test_what_differs_from_instance_to_instance(text: str, bound: bool) -> None:
    assert is_instance_bound(expand(text, ENVIRON)) is bound


@given(st.text())
@settings(deadline=None)
def test_what_is_escaped_means_itself(text: str) -> None:
    assert put_in(expand(escaped(text), {}), {}) == text


@given(st.text(), st.text(alphabet="${}:-?AD"))
@settings(deadline=None)
def test_what_a_variable_brings_is_never_read_again(value: str, around: str) -> None:
    template = expand(f"{escaped(around)}${{V}}{escaped(around)}", {"V": value})
    assert put_in(template, {}) == f"{around}{value}{around}"


def test_every_text_of_a_launch_is_put_in() -> None:
    launch = Launch(
        command=("run", "${DRONED_LABEL}", "$$x"),
        directory="/srv/${DRONED_APP}",
        env={"WHO": "${DRONED_INSTANCE}", "PRICE": "$$5"},
        user="u-${DRONED_LABEL}",
        group="g-${DRONED_LABEL}",
        groups=("s-${DRONED_SERVER}", 7),
        nice=3,
    )
    assert expand_launch(launch, app="web", label="blue", server="host1") == Launch(
        command=("run", "blue", "$x"),
        directory="/srv/web",
        env={"WHO": "web/blue", "PRICE": "$5"},
        user="u-blue",
        group="g-blue",
        groups=("s-host1", 7),
        nice=3,
    )


def test_what_is_not_given_stays_so() -> None:
    launch = Launch(command=("run",), user=7)
    assert expand_launch(launch, app="web", label="0", server="h") == launch
