"""What a method costs: one instrument for all of them. Imported without torch."""
