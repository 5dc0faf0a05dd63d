"""The workflow: which file is made of what, what each step reads and runs, and what it did."""
