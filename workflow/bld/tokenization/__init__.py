"""Tokens and bytes: what a token spells, and a document rendered for one model."""
