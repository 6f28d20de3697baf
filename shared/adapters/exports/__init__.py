"""Cost exports: manifests, and files, read by Polars, which is loaded with the first file."""
