"""What people say of recordings: tables of labels and events, read with care."""
