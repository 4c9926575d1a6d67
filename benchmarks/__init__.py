"""How fast Prism is, told as ratios to other ways of doing the same: `make bench`.

`rows` says what is compared and what is asked of it; `sides` how one side of a row is
measured; `rounds` measures; `series` says what becomes a curve. All of it ends in one
JSON file, of which `tables` and `charts` make what the documentation shows. Ratios,
because the figures of one machine drift by a factor of two while their ratios hold.
"""
