// Unit `at` of an f16 table in words, as f32: by lib/half1.wgsl or lib/half4.wgsl.
fn load(at: u32) -> V { return unpack(table[word_of(at)], at); }
