"""The journal's decisions: bytes, names and sizes in, bytes and verdicts out.

Nothing here opens a file, knows the time or starts a thread; that is the
drivers' (`droned.drivers.journal_files`) and the service's
(`droned.services.journal`). `docs/design/journal.rst` says what was decided
and why.
"""
