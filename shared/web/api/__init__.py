"""The API, /api/v1: what the command line says in JSON, for whoever may see it."""
