"""Bad input and faults, each against a real gateway process and a real server."""
