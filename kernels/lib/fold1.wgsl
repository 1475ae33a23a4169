// The functions of lib/fold4.wgsl where F is one S.
fn fold_sum(a: F) -> S { return a; }
fn fold_max(a: F) -> S { return a; }
fn fold_min(a: F) -> S { return a; }
