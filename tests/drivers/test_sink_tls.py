"""Pushes over https: the certificate of the other side is checked, by name and by who signed it."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet.defer import Deferred
from twisted.internet.epollreactor import EPollReactor

from droned.drivers.clock import SystemClock
from droned.drivers.sink_loki import LokiLink
from droned.models.sinks import Address, Sink, SinkKind
from tests.drivers.receivers import Loki, line, until
from tests.fakes.pools import InlinePool
from tests.protocols.wire import read_push


def certificate(path: Path, name: str) -> Path:
    """A file with a key and a certificate for `name` that it signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def reactor() -> Iterator[Any]:
    made: Any = EPollReactor()
    own = len(os.listdir("/proc/self/fd"))
    yield made
    until(made, lambda: len(os.listdir("/proc/self/fd")) == own)
    for each in made.removeAll():
        each.connectionLost(None)
    made._poller.close()


@pytest.mark.parametrize(
    ("name", "is_trusted", "outcome"),
    [("localhost", True, "0"), ("localhost", False, "cannot push"), ("elsewhere", True, "cannot push")],
)
def test_a_push_over_tls(
    reactor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, is_trusted: bool, outcome: str
) -> None:
    file = certificate(tmp_path / "server.pem", name)
    other = certificate(tmp_path / "other.pem", name)
    monkeypatch.setenv("SSL_CERT_FILE", str(file if is_trusted else other))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    far = Loki(lambda number: (204, {}, b""), context)
    address = Address(scheme="https", host="localhost", port=far.port, path="/push")
    sink = Sink(name="far", kind=SinkKind.LOKI, address=address)
    link = LokiLink(sink, "h", reactor=reactor, pool=InlinePool(), clock=SystemClock())
    told: list[Any] = []
    Deferred.fromCoroutine(link.send([line(1)])).addBoth(told.append)
    until(reactor, lambda: told)
    link.close()
    far.close()
    assert outcome in str(getattr(told[0], "value", told[0]))
    assert [read_push(body)[0][2] for body in far.bodies] == (["line 1"] if outcome == "0" else [])
