"""How packets travel: one Protocol, several backends."""
