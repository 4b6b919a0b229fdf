"""What is said to people: progress, remarks, causes of errors, and nothing that commands a terminal."""
