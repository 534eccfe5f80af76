"""Who is asking: users, logins, tokens."""
