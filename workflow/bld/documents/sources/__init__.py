"""One module for each kind of source, which a step imports by the kind in its settings."""
