"""The command behind each rule: read arguments, call the library, write the declared files."""
