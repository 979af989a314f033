"""The promises of the design, each by a test of its name."""
