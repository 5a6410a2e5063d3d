"""GroupNorm with the time embedding before it and SiLU behind it."""
