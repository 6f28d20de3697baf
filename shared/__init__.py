"""Budget Warden's deployed code; see docs/architecture.md for the map."""
