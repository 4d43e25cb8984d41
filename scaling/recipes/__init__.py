"""How a hyperparameter follows from sizes: a recipe is a function from a size to settings."""
