"""One module for each kind of source; `config.registry` finds it by its place here."""
