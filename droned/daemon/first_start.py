"""The configuration of a first start, checked before anything is made for it.

A droned with nothing to fall back on does not start with a configuration that
cannot be used. Found out here, that leaves no state folder behind, whose files
take their room ahead. Later starts do not come this way: what they cannot use
does not stop them, and the guardian is to be up at once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from droned.daemon.limits import too_many
from droned.daemon.options import RunOptions
from droned.errors import CannotRun, ConfigurationError
from droned.models.policy import Configuration


def is_first(options: RunOptions) -> bool:
    """Whether no droned has begun a journal in this state folder."""
    return not os.path.lexists(f"{options.state_dir}/journal")


def check_first(options: RunOptions, uid: int, environ: Mapping[str, str]) -> None:
    """Raise CannotRun with every problem if the configuration cannot be used."""
    try:
        read_configuration(options, uid, environ)
    except ConfigurationError as error:
        raise refusal(error) from error


def read_configuration(options: RunOptions, uid: int, environ: Mapping[str, str]) -> Configuration:
    """Read the files and check all that they say; raises ConfigurationError. Blocking."""
    from droned.config import load
    from droned.drivers.config_files import read_sources

    configuration = load(read_sources(options.config, uid=uid), options.sets, environ)
    count = sum(len(spec.labels) for spec in configuration.apps.values())
    problem = too_many(count, options.reactor)
    if problem is not None:
        raise ConfigurationError(f"cannot use the configuration: {problem}")
    return configuration


def refusal(error: ConfigurationError) -> CannotRun:
    """Why a droned with nothing to fall back on does not start, every problem on a line of its own."""
    return CannotRun(error.whole)
