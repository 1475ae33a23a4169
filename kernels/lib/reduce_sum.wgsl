// The sum, for reduce.wgsl: what an accumulator starts from, two results combined, and a unit joined at the end.
fn initial(first: F) -> F { return F(S(0)); }
fn combine(a: F, b: F) -> F { return a + b; }
fn fold(a: F) -> G { return fold_sum(a); }
