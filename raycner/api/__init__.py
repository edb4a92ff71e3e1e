"""The Python API: the functions and values that `import raycner` offers. The command line is written on top of it."""
