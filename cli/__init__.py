"""hacli: the administrator's shell."""
