"""Every setting of the workflow, defined once, and checked before any job starts."""
