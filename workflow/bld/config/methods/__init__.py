"""One module for each method; `config.registry` finds it by its place here."""
