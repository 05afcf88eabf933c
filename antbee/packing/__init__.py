"""A checkpoint to a packed model and a bento. The one place that knows both sides."""
