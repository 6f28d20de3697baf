"""Budget Warden's deployed code; see docs/architecture.md for the map."""

__version__ = "0.2.0.dev0"
