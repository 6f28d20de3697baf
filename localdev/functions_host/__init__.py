"""A Functions host for a developer's machine: it runs a Python app as Azure's host and worker do.

It stands on the public names of `azure-functions` and on the storage SDK, so it needs neither Core Tools
nor .NET. What it does, and in which order, follows the source of Azure's own host; each module says where.
"""
