// The functions of lib/fold4.wgsl where nothing is to be joined: F is one S, or a vector of columns that stay apart.
fn fold_sum(a: F) -> F { return a; }
