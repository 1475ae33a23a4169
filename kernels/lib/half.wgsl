// f16 read from u32 words, two in each: needs no shader-f16, and f16 itself is loaded as quickly as f32.
fn half4(words: vec2u) -> vec4f { return vec4f(unpack2x16float(words.x), unpack2x16float(words.y)); }
fn half(word: u32, i: u32) -> f32 { return unpack2x16float(word)[i & 1u]; }
