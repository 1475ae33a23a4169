// Rows of params.head_dim numbers, a multiple of 4, read and written as vectors.
fn load_chunk(x: ptr<storage, array<V>, read>, row: u32, chunk: u32) -> vec4f {
  return vec4f((*x)[row * chunks() + chunk]);
}
fn store_chunk(x: ptr<storage, array<V>, read_write>, row: u32, chunk: u32, numbers: vec4f) {
  (*x)[row * chunks() + chunk] = V(numbers);
}
fn chunks() -> u32 {
  if (EXACT) { return CHUNKS; }
  return params.head_dim / 4u;
}
