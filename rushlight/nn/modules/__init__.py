"""The layers of rushlight.nn, one file for each family; `rushlight.nn` lists the public names."""
