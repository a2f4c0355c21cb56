"""The command line: `convlens info | demo | explain | compile | bench`."""

from ._main import main as main
