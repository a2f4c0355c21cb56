"""convlens beside every peer that is installed, on one list of cases: `python -m benchmarks.compare --help`.

Each library runs in a process of its own, on the same input with the same processors; calls alternate and the others
sleep in a read of their pipe. A file of JSON lines keeps every time measured, a line a round, so that a run may be cut
into pieces and continued; the tables of docs/performance.md are written from it.
"""
