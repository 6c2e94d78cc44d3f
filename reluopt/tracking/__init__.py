"""TensorBoard and plots: they consume plain records and import no solver."""
