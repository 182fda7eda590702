"""What parts of the queue cost alone, measured by pytest-benchmark."""
