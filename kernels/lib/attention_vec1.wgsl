// Rows of any params.head_dim, read and written number by number; the last vector of a row is filled up with zeros.
fn load_chunk(x: ptr<storage, array<V>, read>, row: u32, chunk: u32) -> vec4f {
  var numbers = vec4f(0.0);
  for (var i = 0u; i < 4u; i++) {
    if (4u * chunk + i < params.head_dim) { numbers[i] = f32((*x)[row * params.head_dim + 4u * chunk + i]); }
  }
  return numbers;
}
fn store_chunk(x: ptr<storage, array<V>, read_write>, row: u32, chunk: u32, numbers: vec4f) {
  for (var i = 0u; i < 4u; i++) {
    if (4u * chunk + i < params.head_dim) { (*x)[row * params.head_dim + 4u * chunk + i] = V(numbers[i]); }
  }
}
fn chunks() -> u32 {
  if (EXACT) { return CHUNKS; }
  return (params.head_dim + 3u) / 4u;
}
