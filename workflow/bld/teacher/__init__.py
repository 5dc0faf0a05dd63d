"""The teacher: scoring a shard of documents and the cache of its byte distributions."""
