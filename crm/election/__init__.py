"""Who is DC, and in which term."""
