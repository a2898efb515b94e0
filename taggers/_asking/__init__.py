"""What files of questions and taggers that ask them have in common: checks, parameters, spending."""
