"""What a machine is: its accelerators and their rates, its software, what is wrong with it."""
