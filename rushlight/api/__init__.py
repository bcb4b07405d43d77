"""The public functions that are not single ops: creation, printing, serialization and their kin."""
