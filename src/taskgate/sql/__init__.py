"""SQL text to actions, column lineage and effects, by the database's own grammar. Pure: no I/O."""
