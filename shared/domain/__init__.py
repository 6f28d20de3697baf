"""What is true without a computer: money, charges, periods, budgets, thresholds, pace. No clock, no I/O."""
