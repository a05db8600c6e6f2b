"""The part of the table of keys that is about droned itself."""

from __future__ import annotations

from droned.config import kinds, sink_kinds
from droned.config.key import Key
from droned.models.daemon_log import Level, OwnLogFormat, OwnLogTo
from droned.models.sinks import Facility

BUDGET_KEYS = (
    Key(
        name="burst",
        field="burst",
        kind=kinds.of_whole(1, 1_000_000),
        default="300",
        help="Restarts that may come at once.",
    ),
    Key(
        name="per_second",
        field="per_second",
        kind=kinds.of_share(0.01, 1_000_000),
        default="50",
        help="Restarts in a second after that.",
    ),
)

JOURNAL_KEYS = (
    Key(
        name="keep",
        field="keep_s",
        kind=kinds.POSITIVE_DURATION,
        default="90d",
        help="How long what happened is remembered.",
    ),
)

LOG_SETTINGS_KEYS = (
    Key(
        name="total",
        field="total_bytes",
        kind=kinds.of_size(1024 * 1024, or_word="off"),
        default="2G",
        help="What segments and copies may take together; who takes most pays first. ``off`` is no limit.",
    ),
)

OWN_LOG_KEYS = (
    Key(
        name="format",
        field="format",
        kind=kinds.of_words(OwnLogFormat),
        default="text",
        help="Lines for people, or a JSON object a line.",
    ),
    Key(
        name="to",
        field="to",
        kind=kinds.of_words(OwnLogTo),
        default="stdout",
        help="Its standard output, or files beside those of the apps: ``dronectl logs droned/log``.",
    ),
    Key(
        name="level",
        field="level",
        kind=kinds.of_words(Level),
        default="info",
        help="What is told: this and what is graver.",
    ),
    Key(
        name="levels",
        field="levels",
        kind=kinds.SERVICE_LEVELS,
        default="{}",
        help="The same for single services, as ``dronectl daemon status`` names them.",
    ),
)

SINK_KEYS = (
    Key(
        name="syslog",
        field="address",
        kind=sink_kinds.SYSLOG_ADDRESS,
        help="``unix:///dev/log``, ``udp://HOST:PORT`` or ``tcp://HOST:PORT``; the port is 514 unless given.",
    ),
    Key(
        name="loki",
        field="address",
        kind=sink_kinds.LOKI_ADDRESS,
        help="Where Loki takes pushes: ``http(s)://HOST:3100/loki/api/v1/push``. A sink has one of the two.",
    ),
    Key(
        name="name",
        field="name",
        kind=sink_kinds.NAME,
        help="What it is called in status and issues; made of its address when it is not given.",
    ),
    Key(
        name="apps",
        field="apps",
        kind=sink_kinds.APPS_OR_ALL,
        default="all",
        help="Whose lines it gets; ``droned`` is droned's own log.",
    ),
    Key(
        name="facility",
        field="facility",
        kind=kinds.of_words(Facility),
        default="daemon",
        help="Of syslog: what its messages are filed under.",
    ),
    Key(
        name="labels",
        field="labels",
        kind=sink_kinds.LABELS,
        default="{}",
        help="Of Loki: labels of every line, beside ``server``, ``app``, ``instance`` and ``stream``.",
    ),
)

DAEMON_KEYS = (
    Key(
        name="socket",
        field="socket",
        kind=kinds.SOCKET,
        help="The Unix socket for dronectl; by default in the run folder of the user.",
    ),
    Key(
        name="start_budget",
        field="start_budget",
        keys=BUDGET_KEYS,
        word="off",
        help="A brake on the automatic restarts of the whole host.",
    ),
    Key(name="journal", field="journal", keys=JOURNAL_KEYS, help="The record of what happened."),
    Key(name="logs", field="logs", keys=LOG_SETTINGS_KEYS, help="What apps write, as far as it is captured."),
    Key(name="log", field="log", keys=OWN_LOG_KEYS, help="What droned tells of itself."),
    Key(
        name="forward",
        field="forward",
        keys=SINK_KEYS,
        is_list=True,
        default="[]",
        help="Where else captured lines are sent.",
    ),
)
