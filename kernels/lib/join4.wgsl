// The components of a unit of four S, joined by the kernel's `combine`, which takes any order; lib/join1.wgsl is its twin for one.
fn join(a: F) -> S {
  let pairs = combine(a, a.zwxy);
  return combine(pairs, pairs.yxwz).x;
}
