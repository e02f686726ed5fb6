"""Callgate: one governed URL in front of every MCP server a company uses.

Each `tools/call` is tied to a person, checked against the tool definition that
a reviewer approved, decided by rules, recorded before and after, and checked
again on the way back. This package holds the version and nothing else: it must
never import its own parts, so that reading the version starts nothing.
"""

__version__ = "0.1.0.dev0"
