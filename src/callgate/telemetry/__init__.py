"""What the gateway says of itself while it runs: structured logs on stderr (spans and metrics come later).

A log line holds words of ours, ids, counts, codes and names of the catalogue; never a payload, a header, a URL's query
or the text of an exception that somebody else wrote. Control characters in values are neutralised before they are
written. There is no access log. Fail closed: a field that is not in the list of known fields is dropped.
This package must never know of requests, of the store or of an upstream.
"""
