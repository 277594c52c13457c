"""One folder per field of operations, each with the same rooms."""
