"""The byte cache: a teacher's byte distributions on disk, written, gathered and read."""
