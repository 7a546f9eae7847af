"""pointsman sends each prompt to the model, or the few models together, that serve it best."""

__version__ = "0.1.0"
