"""One module a kind of fault: functions from a size to a `Verdict` that leave nothing behind."""
