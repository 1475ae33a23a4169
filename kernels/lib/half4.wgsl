// f16 read from u32 words, two in each: needs no shader-f16, and f16 itself is loaded as quickly as f32.
// Unit i of four numbers lies in one vec2u; lib/half1.wgsl is its twin for single numbers.
fn word_of(i: u32) -> u32 { return i; }
fn unpack(words: vec2u, i: u32) -> vec4f { return vec4f(unpack2x16float(words.x), unpack2x16float(words.y)); }
