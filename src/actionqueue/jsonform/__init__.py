"""The JSON forms of commands, verdicts and projections, as the command line reads and prints them."""
