"""The model card of a trained student, for the hub."""
