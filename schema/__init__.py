"""What is stored, and every statement that reads or writes it: the only folder that talks to PostgreSQL."""
