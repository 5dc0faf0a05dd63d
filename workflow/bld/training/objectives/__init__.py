"""One file per objective; each turns hidden states and a batch into named losses."""
