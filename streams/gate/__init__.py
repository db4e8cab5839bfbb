"""Events from anywhere: checked row by row and put into batches."""
