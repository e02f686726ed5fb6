"""A real PostgreSQL server of the test session's own; the benchmark starts one of the same making."""

from scripts.postgres import MISSING, OWNER, Cluster, binaries, free_port

__all__ = ["MISSING", "OWNER", "Cluster", "binaries", "free_port"]
