"""What is wrong with the data themselves, read from counters: units, columns, categories, traffic."""
