"""The benchmark: nginx, other gateways and Callgate side by side in one run (`make bench`; docs/performance.md).

Every target runs on one core, the load generator and the upstream (both in C, beside this file) on the other. What
counts are the ratios within one run; absolute figures drift with the machine. Nothing here is a test: a goal that is
not met is printed, and a part that breaks is named and makes the exit code 1.
"""
