"""What a task reaches without a prompt, on the same examples, splits and metric."""
