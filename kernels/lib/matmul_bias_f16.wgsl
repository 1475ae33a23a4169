// Unit i of bias, which is stored as f16 in words: by lib/half1.wgsl or lib/half4.wgsl.
fn load_bias(i: u32) -> L { return unpack(bias[word_of(i)], i); }
