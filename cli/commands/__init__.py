"""One file a level of the shell."""
