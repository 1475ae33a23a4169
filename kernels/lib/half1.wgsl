// The functions of lib/half4.wgsl for single numbers: number i is half of a word.
fn word_of(i: u32) -> u32 { return i / 2u; }
fn unpack(word: u32, i: u32) -> f32 { return unpack2x16float(word)[i & 1u]; }
