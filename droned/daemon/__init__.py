"""The daemon as a whole: options, reactor, signals, and the one file that sees every part (`build`)."""
