"""What the model is: sizes, parameters and operations from its config, without building it."""
