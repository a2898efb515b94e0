"""From options to a finished run: the public function, the plan, the dry run, and the end whatever it is."""
