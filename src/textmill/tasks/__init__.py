"""One job a file, from folder to folder: what a command runs and a recipe is made of."""
