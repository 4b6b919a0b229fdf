"""Arrow columns, strings and vectors as numpy, and compiled loops over them."""
