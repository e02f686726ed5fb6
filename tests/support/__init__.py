"""What tests share: servers that are started for real."""
