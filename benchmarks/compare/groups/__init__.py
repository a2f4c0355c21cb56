"""A module for each group of cases: ``LIBRARIES`` maps a column's name to how that library makes a case."""
