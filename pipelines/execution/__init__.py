"""How the chunks of a plan get their turn: the steps, the executor, worker processes, Ray, what a dry run estimates."""
