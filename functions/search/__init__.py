"""Full-text and vector search: indexes in the memory of the process that searches, exact results."""
