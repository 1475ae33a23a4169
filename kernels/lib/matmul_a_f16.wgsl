// Unit i of a, which is stored as f16 in words: by lib/half1.wgsl or lib/half4.wgsl.
fn load_a(i: u32) -> L { return unpack(a[word_of(i)], i); }
