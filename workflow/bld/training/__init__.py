"""The DeepSpeed loop, the objectives and the batches that feed them."""
