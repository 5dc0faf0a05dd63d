"""Byte-level distillation between language models whose tokenizers differ."""
