"""The scanner: finds in a definition what tries to instruct the model, hide from people or take what is not its own.

`surface` lists every string with its place, `views` normalises and decodes each with offsets kept, detectors and rule
tables look at them, `engine` weighs what they saw. All of it is pure, offline, deterministic, and linear in length.
It must never know of the store, of upstreams, of people or of time, and never fetch, run or render what it reads.
Fail closed: what is too long, too deep or cannot be read is itself a finding, never a silent pass.
"""
