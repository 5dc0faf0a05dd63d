"""What is checked of a crate, one question a module."""
