"""What others get: crates with the full provenance of a run, and model cards."""
