"""What everything that is asked over HTTP shares: host names, paths, forms, cookies, pages, who is signed in.

This package must never know of OAuth, of calls or of rules. Fail closed: an unknown host, a form that is too large or
names a field twice, a form that another site sent, a page that would be framed: refused.
`site` is one request and the table of pages; `pages` makes answers out of templates.
"""
