"""The one door for tables: read, chosen from, and checked, with a reason for what is refused."""
