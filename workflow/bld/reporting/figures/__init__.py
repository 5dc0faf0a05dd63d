"""The figures of the report, one to a file, each defined as FIGURE."""
