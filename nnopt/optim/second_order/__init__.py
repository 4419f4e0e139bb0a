"""Newton's method and its relatives: steps that follow from curvature, at a length that is searched for."""
