"""GroupNorm with the time embedding before it and SiLU after it."""
