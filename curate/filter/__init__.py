"""Rules that keep or drop rows: conditions, the best rows by a column, the keep table."""
