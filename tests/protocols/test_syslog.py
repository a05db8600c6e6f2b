"""Messages of RFC 5424, read back by a reader that was written from the RFC."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from droned.models.sinks import Facility
from droned.protocols.captured import CapturedLine
from droned.protocols.syslog import framed, message
from tests.protocols.wire import lines, read_frames, read_message

LINE = CapturedLine(4711, "2026-11-27T04:31:02.123456Z", "web/0", 3, "stdout", "GET / 200")


def test_a_message_is_as_the_standard_has_it() -> None:
    assert message(LINE, Facility.DAEMON, "host1") == (
        b"<30>1 2026-11-27T04:31:02.123456Z host1 web - - "
        b'[droned@32473 instance="web/0" run="3" stream="stdout"] GET / 200'
    )


def test_what_comes_from_stderr_is_an_error() -> None:
    assert message(LINE._replace(stream="stderr"), Facility.LOCAL7, "h").startswith(b"<187>1 ")


@given(lines, st.sampled_from(Facility), st.text(min_size=1))
def test_everything_comes_back(line: CapturedLine, facility: Facility, host: str) -> None:
    found = read_message(message(line, facility, host))
    assert found.text == line.text_bytes
    assert found.at == line.at
    assert found.facility == list(Facility).index(facility)
    assert found.severity == (3 if line.stream == "stderr" else 6)
    assert line.app.startswith(found.app)
    more = {"more": "true"} if line.has_more else {}
    run = {} if line.run is None else {"run": str(line.run)}
    assert found.facts == {"instance": line.instance, **run, "stream": line.stream, **more}


@given(lines, st.integers(300, 600))
def test_a_message_that_is_too_long_is_cut_and_says_so(line: CapturedLine, most_bytes: int) -> None:
    line = line._replace(text=line.text * 50)
    sent = message(line, Facility.USER, "h", most_bytes)
    found = read_message(sent)
    assert len(sent) <= most_bytes
    assert line.text_bytes.startswith(found.text)
    if found.text != line.text_bytes:
        assert found.facts["cut"] == str(len(line.text_bytes))
        assert len(sent) > most_bytes - 4
    else:
        assert "cut" not in found.facts


@pytest.mark.parametrize("room", range(8))
def test_no_character_is_cut_in_half(room: int) -> None:
    plain = LINE._replace(text="")
    head = len(message(plain, Facility.USER, "h")) + len(' cut="3000"')
    sent = message(LINE._replace(text="€" * 1000), Facility.USER, "h", head + room)
    assert read_message(sent).text.decode() == "€" * (room // 3)


@given(st.lists(st.binary()))
def test_frames_are_counted(sent: list[bytes]) -> None:
    assert read_frames(b"".join(map(framed, sent))) == sent
