"""`convlens demo`: real digits trained, explained and diagnosed, and a page with the pictures."""

from ._run import run as run
