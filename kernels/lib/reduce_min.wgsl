// The smallest value, for reduce.wgsl; as lib/reduce_sum.wgsl, but an accumulator starts from the first value. NaN where any is.
#include "lib/special.wgsl"
fn initial(first: F) -> F { return first; }
fn combine(a: F, b: F) -> F { return smaller(a, b); }
fn fold(a: F) -> G { return join(a); }
