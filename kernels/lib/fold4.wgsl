// The components of a unit joined in a fixed order. F is a vector of four S; lib/fold1.wgsl is its twin for one.
fn fold_sum(a: F) -> S { return (a.x + a.y) + (a.z + a.w); }
