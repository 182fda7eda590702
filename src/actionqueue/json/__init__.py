"""The JSON forms of commands, events, verdicts and projections, as the command line has them."""
