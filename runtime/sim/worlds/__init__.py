"""The simulated worlds: what each of them asks, and how its plate turns."""
