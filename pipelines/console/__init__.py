"""What commands print that read outputs and installations: status, doctor, the pages of taggers."""
