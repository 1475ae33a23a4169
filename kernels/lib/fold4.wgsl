// The components of a unit joined in a fixed order. F is a vector of four S; lib/fold1.wgsl is its twin for one.
fn fold_sum(a: F) -> S { return (a.x + a.y) + (a.z + a.w); }
fn fold_max(a: F) -> S { return max(max(a.x, a.y), max(a.z, a.w)); }
fn fold_min(a: F) -> S { return min(min(a.x, a.y), min(a.z, a.w)); }
