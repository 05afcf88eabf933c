"""HTTP requests to predictions. Knows nothing of torch, training or packing."""
