"""The process that captures what programs write, and the one that reads it again. Standard library only."""
