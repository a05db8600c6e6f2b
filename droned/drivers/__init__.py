"""All I/O: each driver does one kind of it behind a port, and decides nothing."""
