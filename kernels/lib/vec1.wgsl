// Folds over the components of a V of one element: the element itself.
fn vector_sum(a: F) -> S { return a; }
fn vector_max(a: F) -> S { return a; }
fn vector_min(a: F) -> S { return a; }
