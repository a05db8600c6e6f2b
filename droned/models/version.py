"""Which release of droned this is; the package's metadata takes it from here."""

VERSION = "0.1.0"
