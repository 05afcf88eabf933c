"""What get_data.sh runs: fetch, check and unpack pictures, or draw a sample set."""
