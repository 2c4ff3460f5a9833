"""The terminal app and the commands over ``engine``."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("moco-tui")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0.0.0"
