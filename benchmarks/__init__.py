"""Speed of Prism as ratios to other ways of doing the same: `make bench`.

`rows` lists what is compared and the required ratios; `series` what becomes a curve; `sides`
how each side is measured; `rounds` how they alternate. The result is one JSON file, from
which `report` and `charts` make the tables and charts of the documentation. Ratios, because
the absolute figures of one machine drift by a factor of two while their ratios do not.
"""
