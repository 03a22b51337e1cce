"""Views and quorum: pure cores and the shell that drives them."""
