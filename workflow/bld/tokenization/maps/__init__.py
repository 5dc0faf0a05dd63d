"""Which tokens of one vocabulary stand for those of another, by rules alone."""
