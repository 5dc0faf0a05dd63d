"""Byte distributions of any model: its token distributions summed over token prefixes of a text."""
