"""The path of a governed request: the heart of the gateway. Read the modules in the order of the stages:

identify, admit, resolve, decide, park, authorize, forward, inspect, record; `pipeline` is the whole path on one screen.
Stages are small functions over frozen values; `pipeline.Call` is a sans-I/O machine: events in, effects out.
The ordinary edge and the fast path drive the same machine and pass the same contract suite.
This package must never know of HTTP, of SQL or of the wire's framing; the edges translate.
Fail closed: whatever goes wrong before the upstream was asked ends in an audited refusal.
"""
