"""From the texts a person gives to the keys of instances."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from droned.commands.targets import in_configuration_order, no_such, resolve
from droned.errors import BadRequest, DronedError, NoSuchTarget
from tests.commands.snapshots import environment

PLACE = environment({"web": ("0", "1", "2"), "worker": ("blue", "green"), "db": ("0",), "idle": ()}, "old/7")


@pytest.mark.parametrize(
    ("targets", "found"),
    [
        (["web/1"], ["web/1"]),
        (["web"], ["web/0", "web/1", "web/2"]),
        (["web/*"], ["web/0", "web/1", "web/2"]),
        (["web/[12]"], ["web/1", "web/2"]),
        (["w*"], ["web/0", "web/1", "web/2", "worker/blue", "worker/green"]),
        (["*/0"], ["web/0", "db/0"]),
        (["db", "web/2", "web/2", "d*"], ["web/2", "db/0"]),
        (["*"], ["web/0", "web/1", "web/2", "worker/blue", "worker/green", "db/0", "old/7"]),
        (["web1:db/0"], ["db/0"]),
        (["web1:w?b/0"], ["web/0"]),
        (["@web1"], ["web/0", "web/1", "web/2", "worker/blue", "worker/green", "db/0", "old/7"]),
        (["old"], ["old/7"]),
        (["idle"], []),
    ],
)
def test_a_target_names_its_instances_in_configuration_order(targets: list[str], found: list[str]) -> None:
    assert list(resolve(targets, PLACE, "web1")) == found


def test_all_is_every_instance() -> None:
    assert resolve([], PLACE, "web1", all_targets=True) == in_configuration_order(PLACE)


def test_numbered_labels_beyond_the_configuration_are_in_their_order() -> None:
    scaled = environment({"web": ("0", "1")}, "web/10", "web/2")
    assert in_configuration_order(scaled) == ("web/0", "web/1", "web/2", "web/10")


@pytest.mark.parametrize(
    ("target", "near"),
    [
        ("wbe", ["web"]),
        ("worker/gren", ["worker/green"]),
        ("worker/red", ["worker/green", "worker/blue"]),
        ("web/9", ["web/0", "web/1", "web/2"]),
        ("wrker/blue", ["worker"]),
        ("idle/0", []),
        ("x*", []),
        ("idle/*", []),
        ("WEB", []),
    ],
)
def test_what_matches_nothing_is_refused_with_its_neighbours(target: str, near: list[str]) -> None:
    with pytest.raises(NoSuchTarget) as caught:
        resolve(["db", target], PLACE, "web1")
    found = caught.value.facts["near"]
    assert isinstance(found, list)
    assert sorted(found) == sorted(near)
    assert f'"{target}"' in str(caught.value)


@pytest.mark.parametrize("target", ["@web2", "web2:web/0", "@", ":web", "@*"])
def test_other_servers_come_later(target: str) -> None:
    with pytest.raises(NoSuchTarget, match="commands for other servers come later"):
        resolve([target], PLACE, "web1")


def test_no_target_is_never_all() -> None:
    with pytest.raises(BadRequest, match="without a target"):
        resolve([], PLACE, "web1")


def test_all_goes_with_no_names() -> None:
    with pytest.raises(BadRequest, match="both"):
        resolve(["web"], PLACE, "web1", all_targets=True)


@pytest.mark.parametrize("target", ["", "a\nb", "\ud800", "x" * 257, "\x1b[31m"])
def test_what_cannot_be_a_target_is_refused_and_quoted_safely(target: str) -> None:
    with pytest.raises(BadRequest) as caught:
        resolve([target], PLACE, "web1")
    str(caught.value).encode("utf-8")
    assert str(caught.value).isprintable()


def test_an_action_that_is_not_there_names_its_neighbour() -> None:
    assert str(no_such("action", "88a", ["88b", "zz"])) == 'cannot find action "88a"; did you mean "88b"?'


NAMES = st.text(alphabet="abw0-./*?[]:@!\ud800\n", max_size=12)


@given(st.lists(NAMES, max_size=4))
def test_any_text_finds_known_instances_once_in_order_or_is_refused(targets: list[str]) -> None:
    place = environment({"a": ("0", "a"), "b": ("0",), "web": ("b",)})
    order = in_configuration_order(place)
    with suppress(DronedError):
        found = resolve(targets, place, "w")
        assert list(found) == [key for key in order if key in found]
        assert len(set(found)) == len(found)


@given(st.permutations(["web/1", "worker", "d*", "web/0"]))
def test_the_order_of_the_targets_does_not_matter(targets: list[str]) -> None:
    assert resolve(targets, PLACE, "web1") == ("web/0", "web/1", "worker/blue", "worker/green", "db/0")
