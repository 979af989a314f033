"""Task, resource and role files to rules; judge() and explain(). The decision point."""
