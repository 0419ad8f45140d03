"""What users of the REST APIs get wrong, and what each must be told. Run by ../mistakes.py."""
