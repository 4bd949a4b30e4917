"""Full-text search: indexes kept in memory by the process that searches, and exact scores over them."""
