"""Sources to documents: content bytes with roles and a loss mask, split and sharded."""
