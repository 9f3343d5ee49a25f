"""Registries on loopback for tests and benches: Debian's, and one of our own that misbehaves as a test wishes. Standard library only."""
