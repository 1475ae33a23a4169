// The function of lib/join4.wgsl where nothing is to be joined: F is one S, or a vector of columns that stay apart.
fn join(a: F) -> F { return a; }
