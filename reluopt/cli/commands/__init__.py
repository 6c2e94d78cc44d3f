"""What a user can type: one file a command, with its arguments and its help; it imports nothing heavy."""
