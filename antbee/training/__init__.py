"""Pictures on disk to a checkpoint. Knows torch; knows nothing of packing or serving."""
