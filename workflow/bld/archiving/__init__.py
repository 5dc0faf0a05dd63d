"""Crates: everything that a result came from in one file, written, checked and worked on again."""
