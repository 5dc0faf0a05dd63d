"""What a configuration costs, computed before anything is spent."""
