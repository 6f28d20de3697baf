"""Cost exports: manifests, and files, read by Polars, which is loaded with the first file."""

import os

# Polars' allocator gives memory back to the system within half a second, as pages that are cleared anew for the next
# piece of a file: a fifth of the time. It looks here when it is loaded.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:10000,muzzy_decay_ms:10000")
