"""The pages where people connect their accounts at upstreams, and where vendors send their browsers back to.

A page of our own stands before every vendor's: who is signed in here, which server, what it asks for (confused deputy:
MCP security best practices). This package must never know of calls or of OAuth clients of ours.
Fail closed: nothing is begun by a GET, nothing is finished in another browser than it was begun in.
"""
