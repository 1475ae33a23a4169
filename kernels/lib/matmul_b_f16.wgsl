// Unit i of b, which is stored as f16 in words: by lib/half1.wgsl or lib/half4.wgsl.
fn load_b(i: u32) -> L { return unpack(b[word_of(i)], i); }
