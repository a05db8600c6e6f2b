"""The process that answers one question about logs: history, search, follow. Standard library only."""
