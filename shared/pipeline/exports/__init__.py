"""Cost exports, from a container to the ledger: the scanner finds runs, the importer reads them part by part."""
