// Folds over the components of a V of four elements. S is the scalar of F.
fn vector_sum(a: F) -> S { return (a.x + a.y) + (a.z + a.w); }
fn vector_max(a: F) -> S { return max(max(a.x, a.y), max(a.z, a.w)); }
fn vector_min(a: F) -> S { return min(min(a.x, a.y), min(a.z, a.w)); }
