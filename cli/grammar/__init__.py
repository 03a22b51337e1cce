"""crmsh-like text to and from CIB changes: pure."""
