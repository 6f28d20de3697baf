"""The HTTP API and pages, behind the function `Web`; loaded with its first call, for it takes 0.13 s."""
