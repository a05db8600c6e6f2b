"""dronectl: arguments → one request to the API → words on a terminal or bytes in a pipe.

Rules of this package: it decides nothing, since every verb is one call of the
API; data goes to standard output and everything else to standard error; on
failure standard output stays empty; the exit status is part of the interface
(`failures`). It never imports Twisted, YAML or msgspec, and `status`, which
people and scripts run all day, loads nothing that it does not need: no click
(`quick`), no dataclasses, no modules of the other verbs.
"""
