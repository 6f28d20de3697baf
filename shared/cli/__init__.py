"""The command line: `python -m shared.cli`. One module for each group of commands; `main` puts them together."""
