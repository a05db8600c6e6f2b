"""The sinks of `droned.forward`: their addresses, names and what they refuse."""

import pytest

from droned.config.daemon_settings import MOST_SINKS
from droned.config.schema import walk
from droned.models.sinks import Address, Facility, Sink, SinkKind
from tests.config.loading import loaded, problem, problems


def text_of(*sinks: str) -> str:
    lines = [f"    - {{{sink}}}" for sink in sinks]
    return "\n".join(
        ("version: 1", "apps: {web: {command: x}, db: {command: x}}", "droned:", "  forward:", *lines, "")
    )


def sinks_of(*sinks: str) -> tuple[Sink, ...]:
    return loaded(text_of(*sinks)).settings.forward


@pytest.mark.parametrize(
    ("written", "address", "name"),
    [
        ("syslog: unix:///dev/log", Address(scheme="unix", path="/dev/log"), "syslog-dev-log"),
        ("syslog: udp://LOGS.x.org", Address(scheme="udp", host="logs.x.org", port=514), None),
        ("syslog: 'tcp://10.0.0.1:6514/'", Address(scheme="tcp", host="10.0.0.1", port=6514), None),
        ("syslog: 'udp://[::1]:514'", Address(scheme="udp", host="::1", port=514), "syslog-1-514"),
        (
            "loki: 'http://loki/loki/api/v1/push?x=1'",
            Address(scheme="http", host="loki", port=80, path="/loki/api/v1/push?x=1"),
            "loki-loki-80",
        ),
        ("loki: https://l:1/p", Address(scheme="https", host="l", port=1, path="/p"), "loki-l-1"),
    ],
)
def test_an_address_is_taken(written: str, address: Address, name: str | None) -> None:
    (sink,) = sinks_of(written)
    assert sink.address == address
    assert name is None or sink.name == name
    assert sink.apps is None


def test_an_address_is_shown_as_it_can_be_written() -> None:
    for written in ("unix:///dev/log", "udp://[::1]:514", "tcp://h:1"):
        assert str(sinks_of(f"syslog: '{written}'")[0].address) == written
    assert str(sinks_of("loki: 'https://h/p'")[0].address) == "https://h:443/p"


def test_all_that_a_sink_can_say() -> None:
    syslog, loki = sinks_of(
        "name: graylog, syslog: 'tcp://h:1', facility: local7, apps: [web, droned, web]",
        "name: loki, loki: 'http://h/p', labels: {env: prod, Zone_1: '7'}, apps: all",
    )
    assert syslog == Sink(
        name="graylog",
        kind=SinkKind.SYSLOG,
        address=Address(scheme="tcp", host="h", port=1),
        facility=Facility.LOCAL7,
        apps=("web", "droned"),
    )
    assert (loki.name, loki.kind, loki.apps) == ("loki", SinkKind.LOKI, None)
    assert loki.labels == {"env": "prod", "Zone_1": "7"}
    assert loki.facility is Facility.DAEMON


@pytest.mark.parametrize(
    "written",
    [
        *("/dev/log", "unix://dev/log", "unix:///", "unix:///dev/", f"unix:///{'x' * 107}", "udp://"),
        *("udp://h:0", "udp://h:65536", "udp://h:x", "udp://h/x", "udp://h?x", "ftp://h", "h:514", "''"),
        *(
            "'udp://h h'",
            "'udp://h:1#x'",
            "'tcp://[::1'",
            "'tcp://[x]:1'",
            "tcp://-h",
            "[tcp://h]",
            "tls://h",
        ),
        *("tcp://u:p@h", "http://h/p", "'tcp://h\\x00'", "tcp://hé", f"tcp://{'h' * 254}"),
    ],
)
def test_an_address_of_syslog_is_refused(written: str) -> None:
    assert "for droned.forward[0].syslog" in problem(text_of(f"syslog: {written}"))


@pytest.mark.parametrize(
    "written", ["http://h", "http://h/", "ws://h/p", "http:///p", "http://u:p@h/p", "http://h:0/p", "/p"]
)
def test_an_address_of_loki_is_refused(written: str) -> None:
    assert "for droned.forward[0].loki" in problem(text_of(f"loki: '{written}'"))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("name: x", "neither syslog nor loki"),
        ("syslog: udp://h, loki: http://h/p", "both syslog and loki"),
        ("syslog: udp://h, labels: {a: b}", "cannot use labels for a sink of syslog: it is of loki"),
        ("loki: http://h/p, facility: user", "cannot use facility for a sink of loki: it is of syslog"),
        ("loki: http://h/p, labels: {app: x}", "droned sets it itself"),
        ("loki: http://h/p, labels: {a-b: x}", "letters, digits and _"),
        ("loki: http://h/p, labels: {__a: x}", "letters, digits and _"),
        ("loki: http://h/p, labels: [a]", "it is a mapping"),
        ("syslog: udp://h, facility: deamon", 'did you mean "daemon"'),
        ("syslog: udp://h, apps: none", "it is all, or a list of apps"),
        ("syslog: udp://h, apps: []", "it is all, or a list of apps"),
        ("syslog: udp://h, apps: [wep]", 'cannot forward the app wep: there is none (did you mean "web"?)'),
        ("syslog: udp://h, name: A/B", "cannot use A/B for droned.forward[0].name"),
        ("sylog: udp://h", "unknown key"),
    ],
)
def test_a_sink_is_refused(written: str, expected: str) -> None:
    assert any(expected in line for line in problems(text_of(written)))


def test_names_are_unique() -> None:
    assert "cannot have two sinks of the name" in problem(text_of("syslog: udp://h", "syslog: tcp://h"))
    assert len(sinks_of("syslog: udp://h", "syslog: tcp://h, name: other")) == 2


def test_there_are_not_too_many() -> None:
    sinks = [f"syslog: udp://h{number}" for number in range(MOST_SINKS + 1)]
    assert f"{MOST_SINKS} at most" in problem(text_of(*sinks))


def test_defaults_in_the_table_are_the_defaults() -> None:
    defaults = {key.name: key.default for path, key in walk() if path.startswith("droned.forward[].")}
    for kind, address, names in (
        ("syslog", "udp://h", ("apps", "facility")),
        ("loki", "http://h/p", ("apps", "labels")),
    ):
        said = ", ".join(f"{name}: {defaults[name]}" for name in names)
        assert sinks_of(f"{kind}: {address}, {said}") == sinks_of(f"{kind}: {address}")
