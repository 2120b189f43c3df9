"""Networks: the three architectures, their front end, and their faster form."""
