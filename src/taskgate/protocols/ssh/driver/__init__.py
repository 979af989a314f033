"""SSH's wire. These modules alone know asyncssh, which owns it; they decide nothing."""
