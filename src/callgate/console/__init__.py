"""Pages for those who govern: a module for each subject, drawn on the server from what the control API shows.

What somebody may see is decided by the one table of permissions, here as there. This package must never write past the
functions that the control API uses, and never show what the API does not.
Fail closed: who is not signed in is sent to sign in; who lacks the role is told which it takes.
"""
