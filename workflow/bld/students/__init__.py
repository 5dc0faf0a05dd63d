"""Students: vocabulary transfer, byte heads, export."""
