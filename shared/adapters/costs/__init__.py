"""Cost APIs."""
