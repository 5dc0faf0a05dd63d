"""Token distributions summed into byte distributions over token covers of a text."""
