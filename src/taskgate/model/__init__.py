"""The gate's vocabulary: frozen types, caps and errors. Standard library only."""
