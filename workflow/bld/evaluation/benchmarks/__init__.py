"""Benchmarks by lm-eval: the public ones, offline, and local ones made from a split."""
