"""What a model is worth: bits per byte and its divergence from the teacher."""
