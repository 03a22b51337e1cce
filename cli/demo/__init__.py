"""hacli demo: two nodes and a client as namespaces, the story, the table."""
