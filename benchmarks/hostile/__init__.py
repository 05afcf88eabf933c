"""What a server answers to those who wish it ill."""
