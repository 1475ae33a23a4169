// Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): four random words as a function of
// a counter of four words and a key of two.

// The high and low words of a * b, from 16-bit halves: WGSL has no 64-bit integers.
fn multiply_wide(a: u32, b: u32) -> vec2u {
  let low = (a & 0xffffu) * (b & 0xffffu);
  let left = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
  let right = (a & 0xffffu) * (b >> 16u) + (left & 0xffffu);
  return vec2u((a >> 16u) * (b >> 16u) + (left >> 16u) + (right >> 16u), a * b);
}

fn philox(counter: vec4u, key: vec2u) -> vec4u {
  var words = counter;
  var round_key = key;
  for (var round = 0u; round < 10u; round++) {
    let a = multiply_wide(0xD2511F53u, words.x);
    let b = multiply_wide(0xCD9E8D57u, words.z);
    words = vec4u(b.x ^ words.y ^ round_key.x, b.y, a.x ^ words.w ^ round_key.y, a.y);
    round_key += vec2u(0x9E3779B9u, 0xBB67AE85u);
  }
  return words;
}
